from pathlib import Path
from typing import Any

import pytest

from flyball.errors import ConfigError
from flyball.tuners.config.reading import load_document
from flyball.tuners.legality.rules import Context, Severity, check, errors, require_legal

TWO_CPUS = Context(world_size=2, device="cpu", deepspeed_version="0.19.8")
PLAIN_CPU = Context(world_size=2, device="cpu", fp16_on_cpu=False)
TWO_GPUS = Context(world_size=2, device="cuda", deepspeed_version="0.19.8")
OLD = Context(world_size=2, device="cuda", deepspeed_version="0.19.5")
PIPELINE = Context(world_size=2, device="cuda", pipeline=True, data_parallel_size=1)
MAYBE_SPLIT = Context(world_size=4, device="cuda", model_parallel=True)
FINE: dict[str, Any] = {"train_batch_size": 8}


def zero(**settings: Any) -> dict[str, Any]:
    return {**FINE, "zero_optimization": settings}


REFUSED = [
    ({}, TWO_CPUS, "train_batch_size", "names no batch size"),
    ({"train_batch_size": 7}, TWO_CPUS, "train_batch_size", "does not divide"),
    (
        {"train_batch_size": 16, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 2},
        TWO_CPUS,
        "train_batch_size",
        "16 is not 8",
    ),
    ({"train_batch_size": 0}, TWO_CPUS, "train_batch_size", "above zero"),
    ({"train_batch_size": True}, TWO_CPUS, "train_batch_size", "above zero"),
    ({**FINE, "elasticity": {"enabled": True}}, OLD, "train_batch_size", "elasticity computes"),
    ({**FINE, "elasticity": {"enabled": True}}, TWO_GPUS, "elasticity", "removed from DeepSpeed in 0.19.8"),
    ({**FINE, "optimizer": {"type": "OneBitAdam"}}, TWO_GPUS, "optimizer.type", "has no OneBitAdam"),
    (
        {**zero(stage=1), "optimizer": {"type": "OneBitAdam"}},
        OLD,
        "optimizer.type",
        "does not work with ZeRO",
    ),
    ({**FINE, "optimizer": {"type": "OneBitLamb"}}, TWO_CPUS, "optimizer.type", "NCCL or MPI"),
    (
        {**FINE, "optimizer": {"type": "AdamW", "params": {"max_grad_norm": 1}}},
        TWO_CPUS,
        "optimizer.params.max_grad_norm",
        "",
    ),
    (
        zero(stage=2, zero_quantized_weights=True),
        TWO_GPUS,
        "zero_optimization.zero_quantized_weights",
        "needs stage 3",
    ),
    (
        zero(stage=3, zero_quantized_weights=True),
        TWO_CPUS,
        "zero_optimization.zero_quantized_weights",
        "on CPU",
    ),
    (
        zero(stage=3, zero_hpz_partition_size=3),
        TWO_GPUS,
        "zero_optimization.zero_hpz_partition_size",
        "does not divide",
    ),
    (
        zero(stage=2, zero_hpz_partition_size=2),
        TWO_GPUS,
        "zero_optimization.zero_hpz_partition_size",
        "needs stage 3",
    ),
    (zero(stage=2), PIPELINE, "zero_optimization.stage", "pipeline"),
    ({**zero(stage=3), "pipeline": {"stages": 2}}, TWO_GPUS, "zero_optimization.stage", "pipeline"),
    (zero(stage=4), TWO_CPUS, "zero_optimization.stage", "not a ZeRO stage"),
    (
        zero(stage=0, offload_optimizer={"device": "cpu"}),
        TWO_GPUS,
        "zero_optimization.offload_optimizer",
        "needs stage 1",
    ),
    (zero(stage=1, reduce_bucket_size=0), TWO_CPUS, "zero_optimization.reduce_bucket_size", "not above 0"),
    (
        {**FINE, "fp16": {"enabled": True}, "bf16": {"enabled": True}},
        TWO_GPUS,
        "bf16.enabled",
        "both enabled",
    ),
    ({**zero(stage=1), "fp16": {"enabled": True}}, PLAIN_CPU, "fp16.enabled", "no fp16 instructions"),
    ({**zero(stage=1), "optimizer": {"type": "SGD"}}, TWO_CPUS, "optimizer.type", "not tested"),
    ({**FINE, "optimizer": {"type": "Lamb"}}, TWO_CPUS, "optimizer.type", "on CPU"),
    (
        {**FINE, "optimizer": {"type": "AdmW"}},
        TWO_CPUS,
        "optimizer.type",
        "neither DeepSpeed nor torch.optim",
    ),
    ({**FINE, "communication_data_type": "fp8"}, TWO_GPUS, "communication_data_type", "not a data type"),
    ({**zero(stage=2), "prescale_gradients": True}, TWO_GPUS, "prescale_gradients", "reduce_scatter"),
    ({**zero(stage=3), "gradient_allreduce_op": "sum"}, TWO_GPUS, "gradient_allreduce_op", "stage 3"),
    (
        {**FINE, "bf16": {"enabled": True}, "data_types": {"grad_accum_dtype": "fp32"}},
        TWO_GPUS,
        "data_types.grad_accum_dtype",
        "",
    ),
    (zero(stage=3, mics_shard_size=2), TWO_GPUS, "zero_optimization.mics_shard_size", "removed"),
]


@pytest.mark.parametrize(("config", "context", "key", "what"), REFUSED)
def test_what_deepspeed_refuses_is_an_error_at_its_key(
    config: dict[str, Any], context: Context, key: str, what: str
) -> None:
    found = [f for f in check(config, context) if f.severity is Severity.ERROR and f.key == key]
    assert found
    assert any(what in finding.what for finding in found)
    assert all(finding.mend for finding in found)


WARNED = [
    ({**FINE, "comms_logger": {"enabled": True}}, TWO_CPUS, "comms_logger"),
    (zero(stage=2, offload_param={"device": "cpu"}), TWO_GPUS, "zero_optimization.offload_param"),
    (zero(stage=1, overlap_comm=True), PIPELINE, "zero_optimization.overlap_comm"),
    (zero(stage=3, zero_quantized_gradients=True), TWO_GPUS, "zero_optimization.zero_quantized_gradients"),
    (zero(stage=1, stage3_prefetch_bucket_size=1), TWO_CPUS, "zero_optimization.stage3_prefetch_bucket_size"),
    ({**FINE, "optimizer": {"type": "AdamW", "parms": {}}}, TWO_CPUS, "optimizer.parms"),
    ({**FINE, "compile": {"deepcompile": True}}, TWO_GPUS, "compile.deepcompile"),
    ({**FINE, "wall_clock_breakdown": True}, TWO_GPUS, "wall_clock_breakdown"),
]


@pytest.mark.parametrize(("config", "context", "key"), WARNED)
def test_what_deepspeed_does_silently_is_a_warning(
    config: dict[str, Any], context: Context, key: str
) -> None:
    findings = check(config, context)
    assert key in {finding.key for finding in findings}
    assert {finding.severity for finding in findings} == {Severity.WARNING}


def test_what_says_the_opposite_of_what_it_does_is_an_error_that_deepspeed_does_not_see() -> None:
    [finding] = check({**FINE, "comms_logger": {"enabled": False}}, TWO_CPUS)
    assert finding.severity is Severity.ERROR
    assert not finding.refused
    assert errors([finding]) == []


ACCEPTED = [
    (FINE, TWO_CPUS),
    ({**FINE, "optimizer": {"type": "SGD"}}, TWO_CPUS),
    ({**zero(stage=2), "optimizer": {"type": "SGD"}, "zero_allow_untested_optimizer": True}, TWO_CPUS),
    ({**FINE, "optimizer": {"type": "OneBitAdam", "params": {"freeze_step": 10}}}, OLD),
    ({"train_micro_batch_size_per_gpu": 3}, TWO_CPUS),
    ({"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto"}, TWO_CPUS),
    (
        {"train_batch_size": 16, "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 4},
        MAYBE_SPLIT,
    ),
    (
        {"train_batch_size": 4, "train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 4},
        PIPELINE,
    ),
    (zero(stage=1), PIPELINE),
    ({**FINE, "zero_optimization": True}, TWO_CPUS),
    (zero(stage=3, reduce_bucket_size="auto", offload_param={"device": "none"}), TWO_CPUS),
    ({"train_batch_size": 8, "sequence_parallel_size": 2, "train_micro_batch_size_per_gpu": 8}, TWO_GPUS),
    ({"elasticity": {"enabled": True}}, OLD),
]


@pytest.mark.parametrize(("config", "context"), ACCEPTED)
def test_what_deepspeed_accepts_has_no_error(config: dict[str, Any], context: Context) -> None:
    assert [f for f in check(config, context) if f.severity is Severity.ERROR] == []


def test_the_first_error_names_file_line_key_and_mend(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{\n  "train_batch_size": 8,\n  "zero_optimization": {\n    "stage": 5\n  }\n}\n')
    with pytest.raises(ConfigError) as caught:
        require_legal(load_document(path), TWO_CPUS)
    assert (
        str(caught.value) == f"{path}:4: zero_optimization.stage: 5 is not a ZeRO stage; write 0, 1, 2 or 3"
    )
