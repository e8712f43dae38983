from dataclasses import replace
from typing import Any

import pytest

from flyball.tuners.legality.context import Context
from flyball.tuners.memory.moments import Moments, moments

P = 10**9
N = 8
ONE = Context(world_size=1, device="cuda", parameters=P, deepspeed_version="0.19.8")
EIGHT = replace(ONE, world_size=N)
ADAMW = {"type": "AdamW", "params": {"torch_adam": True}}
BF16 = {"bf16": {"enabled": True}, "optimizer": ADAMW}
BUCKET = 2 * 10**9
"""DeepSpeed's own of 5e8 elements in 16 bits."""


def zero(stage: int, **section: Any) -> dict[str, Any]:
    return {"zero_optimization": {"stage": stage, **section}}


def of(config: dict[str, Any], context: Context = EIGHT, *, certain: bool = True) -> tuple[float, ...]:
    """Bytes a parameter at the loss, the first and the last gradient, and in the step."""
    found = moments(config, context, certain=certain)
    assert found is not None
    each = (found.loss, found.first_gradient, found.last_gradient, found.step)
    return tuple(round(value / P, 3) for value in each)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        # weights 2, master weights 4, moments 8, gradients 2, and 4 of them in fp32 in the step
        ({**BF16, **zero(0)}, (14, 14, 16, 20)),
        # states over eight: 2 + 12/8; a bucket of 1; gradients whole; in the step 2/8, flat 2/8, in fp32 4/8
        ({**BF16, **zero(1)}, (3.5, 4.5, 6.5, 4.5)),
        # gradients over eight too
        ({**BF16, **zero(2)}, (3.5, 4.5, 4.75, 4.5)),
        ({**BF16, **zero(2, overlap_comm=True)}, (3.5, 5.5, 5.75, 4.5)),
        ({**BF16, **zero(2, reduce_bucket_size=1e8)}, (3.5, 3.7, 3.95, 4.5)),
        ({**BF16, **zero(2, contiguous_gradients=False)}, (3.5, 3.5, 3.75, 4.5)),
        # everything over eight, and one bucket for good: (2 + 12 + 2)/8 + 1, in the step 4/8
        ({**BF16, **zero(3)}, (3.0, 3.0, 3.0, 3.5)),
        # a quarter of a group of 125 million at a time
        ({**BF16, **zero(3, sub_group_size=31_250_000)}, (3.0, 3.0, 3.0, 3.125)),
        # fp32: weights, gradients and moments, no master weights
        ({"optimizer": ADAMW, **zero(0)}, (12, 12, 16, 16)),
        # stages 1 and 2 keep a second copy of fp32 weights: 4 + 12/8, a bucket of 2
        ({"optimizer": ADAMW, **zero(1)}, (5.5, 7.5, 11.5, 6.5)),
        # the BF16 optimizer keeps fp32 gradients of all: 2 + 12/8 + 4
        ({**BF16, **zero(1), "data_types": {"grad_accum_dtype": "fp32"}}, (7.5, 7.5, 7.5, 7.5)),
        # stage 2 accumulates its share in fp32, which needs no conversion
        ({**BF16, **zero(2), "data_types": {"grad_accum_dtype": "fp32"}}, (3.5, 4.5, 5.0, 4.0)),
        ({**BF16, **zero(1, offload_optimizer={"device": "cpu"})}, (2, 3, 3, 2)),
        ({**BF16, **zero(2, offload_optimizer={"device": "nvme"})}, (2, 3, 3, 2)),
        ({**BF16, **zero(3, offload_optimizer={"device": "cpu"})}, (1.25, 1.25, 1.25, 1.25)),
        (
            {**BF16, **zero(3, offload_optimizer={"device": "cpu"}, offload_param={"device": "cpu"})},
            (1, 1, 1, 1),
        ),
        # 16-bit master weights and states: 2 + 2/8 + 4/8, a step of 2/8 + 2/8 + 2/8
        (
            {"bf16": {"enabled": True, "bf16_master_weights_and_grads": True}, "optimizer": ADAMW, **zero(2)},
            (2.75, 3.75, 4.0, 3.5),
        ),
        # gradients of earlier micro batches are there at the loss
        ({**BF16, **zero(1), "gradient_accumulation_steps": 2, "train_batch_size": 16}, (5.5, 6.5, 6.5, 4.5)),
    ],
)
def test_what_certainly_lies_on_a_device_is_counted(
    config: dict[str, Any], expected: tuple[float, ...]
) -> None:
    assert of(config) == expected


def test_what_torch_and_deepspeed_take_on_top_is_only_likely() -> None:
    # Adam's square roots, unless the kernel is fused or DeepSpeed's own
    assert of({**BF16, **zero(0)}, certain=False)[3] == 24
    fused = {"type": "AdamW", "params": {"torch_adam": True, "fused": True}}
    assert of({**BF16, "optimizer": fused, **zero(0)}, certain=False)[3] == 20
    assert of({**BF16, "optimizer": {"type": "AdamW"}, **zero(0)}, certain=False)[3] == 20
    # stage 3 gathers its largest module and what is fetched ahead
    gathering = replace(EIGHT, largest_parameter=10**7, largest_module=10**8)
    assert of({**BF16, **zero(3)}, gathering, certain=False)[0] == 3.3
    assert of({**BF16, **zero(3)}, gathering)[2] == 3.02


@pytest.mark.parametrize(
    ("optimizer", "certain", "likely"),
    [
        ({"type": "SGD"}, 6, 6),
        ({"type": "SGD", "params": {"momentum": 0.9}}, 10, 10),
        ({"type": "Lion"}, 10, 10),
        ({"type": "Adagrad"}, 10, 10),
        ({"type": "OneBitAdam"}, 14, 14),
        ({"type": "MyOwn"}, 6, 14),
        (None, 6, 14),
    ],
)
def test_an_optimizer_keeps_what_its_kind_keeps(optimizer: Any, certain: float, likely: float) -> None:
    config = {"fp16": {"enabled": True}, **zero(0), **({"optimizer": optimizer} if optimizer else {})}
    assert of(config)[0] == certain
    assert of(config, certain=False)[0] == likely


def test_frozen_parameters_have_weights_only() -> None:
    tuned = replace(ONE, trainable_parameters=P // 100)
    assert of({**BF16, **zero(0)}, tuned) == (2.12, 2.12, 2.14, 2.18)


def test_weights_keep_the_width_that_the_script_gave_them() -> None:
    quantized = replace(ONE, trainable_parameters=0, parameters_by_type={"uint8": P // 2, "float32": P // 2})
    assert of({**BF16, **zero(0)}, quantized) == (1.5, 1.5, 1.5, 1.5)
    # 16 bits without a word in the config: so are the moments
    own = replace(ONE, parameters_by_type={"bfloat16": P})
    assert of({"optimizer": ADAMW, **zero(0)}, own) == (6, 6, 8, 8)


def test_the_bound_holds_for_older_versions_too() -> None:
    """Before 0.19 bf16 without ZeRO had the BF16 optimizer, which partitions its states."""
    older = replace(EIGHT, deepspeed_version="0.16.2")
    assert of({**BF16, **zero(0)}, older) == (7.5, 7.5, 7.5, 7.5)
    assert of({**BF16, **zero(0)}, replace(older, deepspeed_version=None))[0] == 7.5
    assert of({"fp16": {"enabled": True}, "optimizer": ADAMW, **zero(0)}, older)[0] == 14


def test_a_size_that_transformers_fills_in_is_not_guessed() -> None:
    config = {**BF16, **zero(2, reduce_bucket_size="auto")}
    wide = replace(EIGHT, embedding=(32_000, 10_000))
    assert of(config, wide)[1] == 3.5
    assert of(config, wide, certain=False)[1] == 3.7


@pytest.mark.parametrize(
    "context",
    [
        replace(EIGHT, parameters=None),
        replace(EIGHT, pipeline=True),
        replace(EIGHT, model_parallel=True),
    ],
)
def test_without_the_model_nothing_is_counted(context: Context) -> None:
    assert moments({**BF16, **zero(1)}, context, certain=True) is None


def test_a_number_format_that_the_script_decides_is_not_guessed() -> None:
    assert moments({**BF16, "bf16": {"enabled": "auto"}}, EIGHT, certain=True) is None


@pytest.mark.parametrize("section", [{"pipeline": {"stages": 2}}, {"compile": {"deepcompile": True}}])
def test_what_plans_memory_by_itself_is_not_counted(section: dict[str, Any]) -> None:
    assert moments({**BF16, **zero(1), **section}, EIGHT, certain=True) is None


def test_under_autocast_a_bucket_may_be_in_16_bits() -> None:
    config = {"torch_autocast": {"enabled": True}, "optimizer": ADAMW, **zero(1)}
    assert of(config)[1] == 6.5
    assert of(config, certain=False)[1] == 7.5


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
@pytest.mark.parametrize("extra", [{}, {"offload_optimizer": {"device": "cpu"}}, {"overlap_comm": True}])
@pytest.mark.parametrize("config", [BF16, {"optimizer": ADAMW}, {"fp16": {"enabled": True}}])
@pytest.mark.parametrize("context", [ONE, EIGHT, replace(EIGHT, deepspeed_version=None)])
def test_what_is_certain_is_likely_too(
    stage: int, extra: dict[str, Any], config: dict[str, Any], context: Context
) -> None:
    whole = {**config, **zero(stage, **extra)}
    certain, likely = (moments(whole, context, certain=sure) for sure in (True, False))
    assert certain is not None
    assert likely is not None
    assert certain.least(likely) == certain


def test_the_most_is_that_of_the_fullest_moment() -> None:
    assert Moments(resting=0, loss=1, first_gradient=4, last_gradient=3, step=2).most == 4
