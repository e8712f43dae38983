"""Number formats: fp16, bf16, their accumulation and the data type on the wire."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import is_on, number_of, offloads, precision, precision_is_open, stage_of
from flyball.tuners.legality.context import Context, is_before
from flyball.tuners.legality.finding import Finding, Rule, found, shown

WIRE_TYPES = ("fp32", "fp16", "bf16")
TORCH_TYPES = {
    "fp16": ("fp16", "float16", "half", "torch.float16"),
    "bf16": ("bf16", "bfloat16", "torch.bfloat16"),
    "fp32": ("fp32", "float32", "float", "torch.float32"),
}
"""What DeepSpeed takes for each data type (runtime/config.py, DtypeEnum)."""
DYNAMIC_SCALE_KEYS = ("initial_scale_power", "loss_scale_window", "hysteresis", "min_loss_scale")


def one_format(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed asserts that fp16 and bf16 are not both on."""
    for name in ("bf16", "bfloat16"):
        if is_on(config, "fp16.enabled") and is_on(config, f"{name}.enabled"):
            what = "fp16 and bf16 are both enabled"
            yield found("precision-both", f"{name}.enabled", what, "set one of the two to false")


def fp16_on_cpu(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """fp16 on a CPU needs instructions that few have; the engine refuses it without them."""
    if context.device != "cpu" or not is_on(config, "fp16.enabled"):
        return
    if context.fp16_on_cpu is False:
        yield found("fp16-on-cpu", "fp16.enabled", "this CPU has no fp16 instructions", "use bf16")
    elif context.fp16_on_cpu is None:
        yield found("fp16-unlikely-on-cpu", "fp16.enabled", "few CPUs have fp16 instructions", "use bf16")


def loss_scale(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Dynamic loss scaling (loss_scale 0) divides by its window and must not scale to nothing."""
    scale = number_of(known(config, "fp16.loss_scale", 0))
    if scale is not None and scale < 0:
        yield found("loss-scale", "fp16.loss_scale", f"{scale:g} is below 0", "write 0 for dynamic scaling")
    if not is_on(config, "fp16.enabled"):
        return
    # A window of 0 has always divided by zero; a floor of 0 is refused since 0.19.
    checked = (
        ("loss_scale_window",) if is_before(context, (0, 19)) else ("loss_scale_window", "min_loss_scale")
    )
    for name in checked:
        value = number_of(known(config, f"fp16.{name}", 1))
        if scale == 0 and value is not None and value <= 0:
            yield found(
                "loss-scale", f"fp16.{name}", f"{value:g} is not above 0", "write a whole number above 0"
            )
    if scale:
        yield from _static_scale(config)


def _static_scale(config: Mapping[str, Any]) -> Iterator[Finding]:
    for name in DYNAMIC_SCALE_KEYS:
        if known(config, f"fp16.{name}", None) is not None:
            what = "does nothing while fp16.loss_scale is fixed"
            yield found("loss-scale-idle", f"fp16.{name}", what, "remove it, or set fp16.loss_scale to 0")


def low_precision_masters(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Master weights in 16 bits are kept by the ZeRO optimizers only."""
    masters = "bf16.bf16_master_weights_and_grads"
    for key in ("fp16.fp16_master_weights_and_grads", masters, "bf16.bf16_optimizer_states"):
        if is_on(config, key) and stage_of(config) == 0:
            mend = "raise zero_optimization.stage, or remove it"
            yield found("master-weights-stage", key, "needs ZeRO stage 1, 2 or 3", mend)
        elif is_on(config, key) and _needs_offload(config, key):
            what, mend = "needs the optimizer on the CPU", 'add "offload_optimizer": {"device": "cpu"}'
            yield found("master-weights-offload", key, what, mend)
    if is_on(config, "bf16.bf16_optimizer_states") and not is_on(config, masters):
        what = "needs bf16_master_weights_and_grads"
        yield found("optimizer-states-master", "bf16.bf16_optimizer_states", what, f"set {masters}")


def _needs_offload(config: Mapping[str, Any], key: str) -> bool:
    """States in fp32 beside 16-bit masters are DeepSpeedCPUAdam's; all in bf16 may stay on the device."""
    all_in_bf16 = key.startswith("bf16.") and is_on(config, "bf16.bf16_optimizer_states")
    return not all_in_bf16 and not offloads(config, "optimizer")


def wire_type(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The data types that a reduction can have; fp16 has not bf16's range."""
    for key in ("communication_data_type", "seq_parallel_communication_data_type"):
        value = known(config, key, None)
        if value is not None and (not isinstance(value, str) or value.lower() not in WIRE_TYPES):
            what = f"{shown(value)} is not a data type on the wire"
            yield found("wire-type", key, what, "write one of fp32, fp16, bf16")
        elif value is not None and value.lower() == "fp16" and precision(config) == "bf16":
            what = "bf16 gradients that do not fit into fp16 become infinite on the wire"
            yield found("wire-type-precision", key, what, "write bf16 or fp32")


def accumulation_type(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Without ZeRO, DeepSpeed has no optimizer that accumulates in another format than the model's."""
    key = "data_types.grad_accum_dtype"
    wanted = known(config, key, None)
    if wanted is None:
        return
    if _torch_type(wanted) is None:
        yield found(
            "accumulation-type", key, f"{shown(wanted)} is not a data type", "write one of fp32, fp16, bf16"
        )
    elif stage_of(config) == 0 and _torch_type(wanted) != precision(config) and not precision_is_open(config):
        what = f"gradients in {wanted} with a model in {precision(config)} need ZeRO"
        mend = "set zero_optimization.stage to 1, or remove it"
        yield found("accumulation-type-stage", key, what, mend)


def parameter_type(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The engine asserts that param_dtype, which it has since 0.19, is the format that fp16 or bf16 say."""
    if is_before(context, (0, 19)):
        return
    key = "data_types.param_dtype"
    wanted = known(config, key, None)
    if wanted is not None and _torch_type(wanted) != precision(config) and not precision_is_open(config):
        what = f"{shown(wanted)} while the model is in {precision(config)}"
        yield found("precision-parameter-type", key, what, "remove it, or enable the format's section")


def autocast(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """torch_autocast: a data type of torch's, and no quantized weights."""
    dtype = read(config, "torch_autocast.dtype")
    if dtype is not None and _torch_type(dtype) is None and str(dtype) not in ("int8", "torch.int8"):
        what = f"{shown(dtype)} is not a data type"
        yield found("autocast-type", "torch_autocast.dtype", what, "write bfloat16 or float16")
    if is_on(config, "torch_autocast.enabled") and is_on(config, "zero_optimization.zero_quantized_weights"):
        what = "does not work with zero_quantized_weights"
        yield found("autocast-quantized", "torch_autocast.enabled", what, "remove one of the two")


def apex(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Apex AMP, in the versions that have it (before 0.19.8): without ZeRO, fp16 and bf16."""
    if not is_on(config, "amp.enabled") or not is_before(context, (0, 19, 8)):
        return
    if stage_of(config):
        yield found("amp-zero", "amp.enabled", "Apex AMP does not work with ZeRO", "use fp16 or bf16 instead")
    if precision(config) != "fp32":
        what = f"Apex AMP does not work with {precision(config)}"
        yield found("amp-precision", "amp.enabled", what, "remove one of the two")


def _torch_type(value: Any) -> str | None:
    return next((name for name, texts in TORCH_TYPES.items() if str(value) in texts), None)


RULES: tuple[Rule, ...] = (
    one_format,
    fp16_on_cpu,
    loss_scale,
    low_precision_masters,
    wire_type,
    accumulation_type,
    parameter_type,
    autocast,
    apex,
)
