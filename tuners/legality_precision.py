"""Number formats: fp16, bf16, their accumulation and the data type on the wire."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config import known
from flyball.tuners.context import Context
from flyball.tuners.finding import Finding, Rule, error, warning
from flyball.tuners.shape import precision, stage_of

WIRE_TYPES = ("fp32", "fp16", "bf16")


def one_format(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed asserts that fp16 and bf16 are not both on."""
    for name in ("bf16", "bfloat16"):
        if on(config, "fp16") and on(config, name):
            yield error(f"{name}.enabled", "fp16 and bf16 are both enabled", "set one of the two to false")


def fp16_on_cpu(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """fp16 on a CPU needs instructions that few have; the engine refuses it without them."""
    if context.device != "cpu" or not on(config, "fp16"):
        return
    if context.fp16_on_cpu is False:
        yield error("fp16.enabled", "this CPU has no fp16 instructions", "use bf16")
    elif context.fp16_on_cpu is None:
        yield warning("fp16.enabled", "few CPUs have fp16 instructions", "use bf16")


def low_precision_masters(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Master weights in 16 bits are kept by the ZeRO optimizers only."""
    for key in (
        "fp16.fp16_master_weights_and_grads",
        "bf16.bf16_master_weights_and_grads",
        "bf16.bf16_optimizer_states",
    ):
        if known(config, key, False) and stage_of(config) == 0:
            yield error(key, "needs ZeRO stage 1, 2 or 3", "raise zero_optimization.stage, or remove it")
    if known(config, "bf16.bf16_optimizer_states", False) and not known(
        config, "bf16.bf16_master_weights_and_grads", False
    ):
        yield error(
            "bf16.bf16_optimizer_states",
            "needs bf16_master_weights_and_grads",
            "set bf16.bf16_master_weights_and_grads",
        )


def wire_type(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The data types that a reduction can have."""
    for key in ("communication_data_type", "seq_parallel_communication_data_type"):
        value = known(config, key, None)
        if value is not None and str(value).lower() not in WIRE_TYPES:
            yield error(key, f"{value!r} is not a data type on the wire", "write one of fp32, fp16, bf16")


def accumulation_type(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Without ZeRO, DeepSpeed has no optimizer that accumulates in another format than the model's."""
    wanted = known(config, "data_types.grad_accum_dtype", None)
    if wanted is not None and str(wanted) not in WIRE_TYPES:
        yield error(
            "data_types.grad_accum_dtype", f"{wanted!r} is not a data type", "write one of fp32, fp16, bf16"
        )
    elif wanted is not None and stage_of(config) == 0 and wanted != precision(config):
        what = f"gradients in {wanted} with a model in {precision(config)} need ZeRO"
        yield error("data_types.grad_accum_dtype", what, "set zero_optimization.stage to 1, or remove it")


def on(config: Mapping[str, Any], section: str) -> bool:
    """Whether a section's ``enabled`` is true."""
    return known(config, f"{section}.enabled", False) is True


RULES: tuple[Rule, ...] = (one_format, fp16_on_cpu, low_precision_masters, wire_type, accumulation_type)
