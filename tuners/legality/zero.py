"""ZeRO: stages, what needs which stage, what pipelines and CPUs exclude."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import (
    MAX_STAGE,
    is_on,
    offloads,
    optimizer_type,
    overlap_of,
    precision,
    stage_of,
)
from flyball.tuners.legality.context import Context, is_before, pipelined
from flyball.tuners.legality.finding import Finding, Rule, found

STAGE = "zero_optimization.stage"
QUANTIZED = ("zero_quantized_weights", "zero_quantized_nontrainable_weights", "zero_quantized_gradients")
BUCKETS = ("reduce_bucket_size", "allgather_bucket_size", "stage3_prefetch_bucket_size")
HUGE_BUCKET_ELEMENTS = 2_000_000_000
"""Four times DeepSpeed's default; 4 GB in 16 bits, where the memory of the device is not known."""
HUGE_BUCKET_SHARE = 0.25


def old_form(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """``"zero_optimization": true`` is stage 1; ``legacy_stage1`` raises since 0.5.9."""
    if isinstance(known(config, "zero_optimization", None), bool):
        mend = 'write {"stage": 1}, or leave it out'
        yield found("zero-old-form", "zero_optimization", "is the old form, for stage 1 or 0", mend)
    if is_on(config, "zero_optimization.legacy_stage1") and stage_of(config):
        key = "zero_optimization.legacy_stage1"
        yield found("zero-legacy-stage1", key, "the old stage 1 is gone since 0.5.9", "remove it")


def pipeline(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """PipelineEngine asserts a stage below 2, and switches overlap off."""
    if not pipelined(config, context):
        return
    if stage_of(config) > 1:
        what = f"stage {stage_of(config)} does not work with pipeline parallelism"
        yield found("zero-pipeline", STAGE, what, "write 0 or 1")
    if is_on(config, "zero_optimization.overlap_comm"):
        key = "zero_optimization.overlap_comm"
        yield found("pipeline-overlap", key, "a pipeline switches it off", "remove it")
    if is_on(config, "compile.deepcompile"):
        what = "does not work with pipeline parallelism"
        yield found("pipeline-deepcompile", "compile.deepcompile", what, "set it to false")


def quantized_communication(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ZeRO++: stage 3, on an accelerator."""
    for name in QUANTIZED:
        key = f"zero_optimization.{name}"
        if not is_on(config, key):
            continue
        if stage_of(config) < MAX_STAGE:
            what = f"ZeRO++ needs stage 3, the config says {stage_of(config)}"
            yield found("zeropp-stage", key, what, "set zero_optimization.stage to 3")
        if context.device == "cpu":
            yield found("zeropp-cpu", key, "ZeRO++ is not implemented on CPU", "remove it")
    yield from quantized_gradients(config, context)


def quantized_gradients(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """zero_quantized_gradients asserts reduce_scatter, and falls back without a word on one host."""
    key = "zero_optimization.zero_quantized_gradients"
    if not is_on(config, key):
        return
    if not is_on(config, "zero_optimization.reduce_scatter", default=True):
        mend = "set zero_optimization.reduce_scatter to true"
        yield found("quantized-gradients-scatter", key, "needs reduce_scatter", mend)
    if context.hosts == 1:
        yield found("quantized-gradients-fallback", key, "does nothing on one host", "remove it")
    elif context.hosts is None:
        what = "does nothing on one host, nor for gradients that twice the ranks do not divide"
        yield found("quantized-gradients-fallback", key, what, "watch the bytes on the wire, or remove it")


def quantized_weights(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The kernel of zero_quantized_weights works on groups of eight."""
    key = "zero_optimization.zero_quantized_weights"
    if is_on(config, key):
        what = "wants parameters of a multiple of 8 x groups elements"
        yield found("quantized-weights-shape", key, what, "pad what is not")


def secondary_partition(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """The secondary partition of ZeRO++ (hpZ) divides the world."""
    key = "zero_optimization.zero_hpz_partition_size"
    size = known(config, key, 1)
    if not isinstance(size, int) or size <= 1:
        return
    if context.ranks_known and context.world_size % size:
        what = f"{size} does not divide {context.world_size} ranks"
        yield found("hpz-divides", key, what, "write a divisor, usually the ranks of a host")
    if stage_of(config) < MAX_STAGE:
        what = f"needs stage 3, the config says {stage_of(config)}"
        yield found("hpz-stage", key, what, "set zero_optimization.stage to 3")


def bucket_memory(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Buckets are numbers of elements, and lie on the device beside the model."""
    width = 4 if precision(config) == "fp32" else 2
    memory = context.device_memory_bytes
    limit = HUGE_BUCKET_SHARE * memory / width if memory else HUGE_BUCKET_ELEMENTS
    whose = "the host's" if context.device == "cpu" else "a device's"
    for name in BUCKETS:
        key = f"zero_optimization.{name}"
        value = known(config, key, 0)
        if isinstance(value, int | float) and value > limit and stage_of(config):
            what = f"{value:.3g} elements are {value * width / 1e9:.0f} GB of {whose} memory"
            yield found("bucket-huge", key, what, "write for example 5e8")


def gradient_norm(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """compute_grad_norm false: stages 1 and 2, without what needs the norm, or an optimizer that has it."""
    key = "zero_optimization.compute_grad_norm"
    if known(config, key, True):
        return
    if stage_of(config) not in (1, 2):
        yield found("grad-norm-stage", key, "false is for ZeRO stages 1 and 2", "remove it")
    needs = {
        "gradient_clipping": known(config, "gradient_clipping", 0),
        "zenflow": known(config, "zero_optimization.zenflow", None),
        "offload_optimizer": offloads(config, "optimizer"),
        "fp32 accumulation of bf16 at stage 1": stage_of(config) == 1
        and precision(config) == "bf16"
        and known(config, "data_types.grad_accum_dtype", None) in ("fp32", "float32"),
    }
    for name in (name for name, needed in needs.items() if needed):
        yield found("grad-norm-needed", key, f"false does not work with {name}", "remove one of the two")


def deepcompile(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepCompile's passes for ZeRO work from stage 1 on, AutoSP's below 2; else torch.compile takes over."""
    key = "compile.deepcompile"
    if not is_on(config, key):
        return
    named = known(config, "compile.passes", None)
    passes = set(map(str, named)) if isinstance(named, list) else set()
    now = stage_of(config)
    if "autosp" in passes and now > 1:
        what = f"falls back to torch.compile: AutoSP does not work at stage {now}"
        yield found("deepcompile-fallback", key, what, "set zero_optimization.stage to 0 or 1")
    elif not {"autosp", "autotp"} & passes and not 1 <= now <= MAX_STAGE:
        what = f"falls back to torch.compile at stage {now}"
        yield found("deepcompile-fallback", key, what, "set zero_optimization.stage to 1, 2 or 3")
    if "autotp" in passes and {"autosp", "z1", "z3"} & passes:
        yield found("deepcompile-passes", "compile.passes", "autotp works on its own only", "write one pass")


def unmanaged_accumulation(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """managed_gradient_accumulation false excludes pipelines, DeepCompile, and overlap outside stage 2."""
    key = "managed_gradient_accumulation"
    if known(config, key, True) or is_before(context, (0, 19)):
        return
    if pipelined(config, context) or is_on(config, "compile.deepcompile"):
        what = "false does not work with pipelines or DeepCompile"
        yield found("unmanaged-accumulation", key, what, "remove it")
    if overlap_of(config) and stage_of(config) != 2:
        what, mend = (
            "false allows overlap_comm at stage 2 only",
            "set zero_optimization.overlap_comm to false",
        )
        yield found("unmanaged-overlap", key, what, mend)


def muon(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Stage 3 raises for Muon with reduce_scatter, which is on by default."""
    scattered = known(config, "zero_optimization.reduce_scatter", True)
    if (optimizer_type(config) or "").lower() == "muon" and stage_of(config) == MAX_STAGE and scattered:
        what = "Muon does not work with reduce_scatter at stage 3"
        yield found("muon-scatter", "optimizer.type", what, "set zero_optimization.reduce_scatter to false")


def idle_settings(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Settings of stage 3 below stage 3 do nothing, and some do nothing at it."""
    section = read(config, "zero_optimization")
    if not isinstance(section, Mapping) or read(config, STAGE) == "auto":
        return
    if stage_of(config) == MAX_STAGE:
        if is_on(config, "zero_optimization.elastic_checkpoint"):
            key = "zero_optimization.elastic_checkpoint"
            yield found("elastic-checkpoint", key, "does nothing at stage 3", "use universal checkpoints")
        if not _gathers(section):
            what = "16-bit saves have no weights at stage 3 unless they are gathered"
            mend = "set stage3_gather_16bit_weights_on_model_save to true if the script saves so"
            yield found("gather-on-save", "zero_optimization", what, mend)
        return
    for name, value in section.items():
        if name.startswith("stage3_") and value != "auto":
            what = f"does nothing at stage {stage_of(config)}"
            yield found("stage3-idle", f"zero_optimization.{name}", what, "remove it, or use stage 3")


def _gathers(section: Mapping[str, Any]) -> bool:
    names = ("gather_16bit_weights_on_model_save", "gather_fp16_weights_on_model_save")
    return any(section.get(f"{prefix}{name}") for name in names for prefix in ("stage3_", ""))


RULES: tuple[Rule, ...] = (
    old_form,
    pipeline,
    quantized_communication,
    quantized_weights,
    secondary_partition,
    bucket_memory,
    gradient_norm,
    deepcompile,
    unmanaged_accumulation,
    muon,
    idle_settings,
)
