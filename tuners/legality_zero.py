"""ZeRO: stages, what needs which stage, what pipelines and CPUs exclude."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config import known, read
from flyball.tuners.context import Context, pipelined
from flyball.tuners.finding import Finding, Rule, error, warning
from flyball.tuners.shape import MAX_STAGE, offloads, overlap_of, stage_of

STAGE = "zero_optimization.stage"
QUANTIZED = ("zero_quantized_weights", "zero_quantized_nontrainable_weights", "zero_quantized_gradients")
SIZES = ("reduce_bucket_size", "allgather_bucket_size", "stage3_prefetch_bucket_size", "sub_group_size")


def stage(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A stage is 0, 1, 2 or 3."""
    value = known(config, STAGE, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_STAGE:
        yield error(STAGE, f"{value!r} is not a ZeRO stage", "write 0, 1, 2 or 3")


def pipeline(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """PipelineEngine asserts a stage below 2, and switches overlap off."""
    if not pipelined(config, context):
        return
    if stage_of(config) > 1:
        yield error(
            STAGE, f"stage {stage_of(config)} does not work with pipeline parallelism", "write 0 or 1"
        )
    if known(config, "zero_optimization.overlap_comm", False):
        yield warning("zero_optimization.overlap_comm", "a pipeline switches it off", "remove it")
    if known(config, "compile.deepcompile", False):
        yield error("compile.deepcompile", "does not work with pipeline parallelism", "set it to false")


def quantized_communication(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ZeRO++: stage 3, on an accelerator."""
    for name in QUANTIZED:
        key = f"zero_optimization.{name}"
        if not known(config, key, False):
            continue
        if stage_of(config) < MAX_STAGE:
            yield error(
                key,
                f"ZeRO++ needs stage 3, the config says {stage_of(config)}",
                "set zero_optimization.stage to 3",
            )
        if context.device == "cpu":
            yield error(key, "ZeRO++ is not implemented on CPU", "remove it")
    yield from quantized_gradients(config, context)


def quantized_gradients(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """zero_quantized_gradients asserts reduce_scatter, and falls back without a word on one host."""
    key = "zero_optimization.zero_quantized_gradients"
    if not known(config, key, False):
        return
    if not known(config, "zero_optimization.reduce_scatter", True):
        yield error(key, "needs reduce_scatter", "set zero_optimization.reduce_scatter to true")
    if context.hosts == 1:
        yield warning(key, "does nothing on one host", "remove it")


def secondary_partition(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The secondary partition of ZeRO++ (hpZ) divides the world."""
    key = "zero_optimization.zero_hpz_partition_size"
    size = known(config, key, 1)
    if not isinstance(size, int) or size <= 1:
        return
    if context.world_size % size:
        yield error(
            key,
            f"{size} does not divide {context.world_size} ranks",
            "write a divisor, usually the ranks of a host",
        )
    if stage_of(config) < MAX_STAGE:
        yield error(
            key, f"needs stage 3, the config says {stage_of(config)}", "set zero_optimization.stage to 3"
        )


def offload(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Parameters are offloaded at stage 3, optimizer states from stage 1 on."""
    for what, lowest in (("param", MAX_STAGE), ("optimizer", 1)):
        if offloads(config, what) and stage_of(config) < lowest:
            key = f"zero_optimization.offload_{what}"
            yield error(
                key,
                f"needs stage {lowest} or above, the config says {stage_of(config)}",
                "raise the stage, or remove it",
            )
    ratio = known(config, "zero_optimization.offload_optimizer.ratio", 1.0)
    if isinstance(ratio, int | float) and ratio < 1 and stage_of(config) < MAX_STAGE:
        yield error(
            "zero_optimization.offload_optimizer.ratio",
            "partial offload needs stage 3",
            "set the ratio to 1.0",
        )


def sizes(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Bucket sizes are numbers of elements."""
    for name in SIZES:
        key = f"zero_optimization.{name}"
        value = known(config, key, 1)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0 or value != int(value):
            yield error(key, f"{value!r} is not a number of elements", "write for example 5e8")
    if known(config, "zero_optimization.reduce_bucket_size", 1) == 0:
        yield error(
            "zero_optimization.reduce_bucket_size", "0 elements hold no gradient", "write for example 5e8"
        )


def gradient_norm(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """compute_grad_norm false: stages 1 and 2, without clipping."""
    key = "zero_optimization.compute_grad_norm"
    if known(config, key, True):
        return
    if stage_of(config) not in (1, 2):
        yield error(key, "false is for ZeRO stages 1 and 2", "remove it")
    if known(config, "gradient_clipping", 0):
        yield error(key, "false with gradient_clipping has no norm to clip by", "remove one of the two")


def deepcompile(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepCompile works from stage 1 on."""
    if known(config, "compile.deepcompile", False) and not 1 <= stage_of(config) <= MAX_STAGE:
        yield error("compile.deepcompile", "needs ZeRO stage 1, 2 or 3", "set zero_optimization.stage")


def unmanaged_accumulation(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """managed_gradient_accumulation false excludes pipelines, DeepCompile, and overlap outside stage 2."""
    key = "managed_gradient_accumulation"
    if known(config, key, True):
        return
    if pipelined(config, context) or known(config, "compile.deepcompile", False):
        yield error(key, "false does not work with pipelines or DeepCompile", "remove it")
    if overlap_of(config) and stage_of(config) != 2:
        yield error(
            key, "false allows overlap_comm at stage 2 only", "set zero_optimization.overlap_comm to false"
        )


def idle_settings(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Settings of stage 3 below stage 3 do nothing."""
    section = read(config, "zero_optimization")
    if stage_of(config) == MAX_STAGE or not isinstance(section, Mapping):
        return
    for name, value in section.items():
        if name.startswith("stage3_") and value != "auto":
            yield warning(
                f"zero_optimization.{name}",
                f"does nothing at stage {stage_of(config)}",
                "remove it, or use stage 3",
            )


RULES: tuple[Rule, ...] = (
    stage,
    pipeline,
    quantized_communication,
    secondary_partition,
    offload,
    sizes,
    gradient_norm,
    deepcompile,
    unmanaged_accumulation,
    idle_settings,
)
