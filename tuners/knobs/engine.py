"""The engine and the process around it: optimizer kernels, compilation, timers, threads."""

from flyball.tuners.base import Value
from flyball.tuners.config.reading import known
from flyball.tuners.config.shape import offloads, optimizer_type
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of, whole_numbers
from flyball.tuners.legality.context import release

FUSED = "optimizer.params.fused"
TORCH_ADAM = "optimizer.params.torch_adam"
SYNCHRONIZED = "timers.throughput.synchronized"
FUSED_ON_CPU_SINCE = (2, 4)
COMPILE_SINCE = (2, 1)


def fused(situation: Situation) -> bool:
    """Whether Adam runs as one kernel: DeepSpeed's own always does, torch's on request."""
    if not known(situation.config, TORCH_ADAM, False):
        return True
    return bool(known(situation.config, FUSED, False))


def write_fused(draft: Draft, value: Value) -> None:
    """Ask torch's Adam for its fused kernel, or for the one it takes by itself."""
    draft.write(FUSED, value)


def _fused_pointless(situation: Situation) -> str | None:
    if (optimizer_type(situation.config) or "").lower() not in ("adam", "adamw"):
        return "the config names no Adam"
    if not known(situation.config, TORCH_ADAM, False):
        return "DeepSpeed's own Adam is fused already"
    if offloads(situation.config, "optimizer"):
        return "the optimizer states are offloaded"
    installed = release(situation.context.torch_version)
    if situation.context.device == "cpu" and installed and installed < FUSED_ON_CPU_SINCE:
        return "torch has a fused Adam on CPU from 2.4 on"
    return None


def write_compile(draft: Draft, value: Value) -> None:
    """Ask the probe to compile the engine's module."""
    if value:
        draft.probe["compile"] = True


def _compile_pointless(situation: Situation) -> str | None:
    if known(situation.config, "compile.deepcompile", False):
        return "the config compiles by DeepCompile"
    installed = release(situation.context.torch_version)
    return "torch compiles from 2.1 on" if installed and installed < COMPILE_SINCE else None


def write_checkpointing(draft: Draft, value: Value) -> None:
    """Ask the probe to switch the model's activation checkpointing."""
    draft.probe["activation_checkpointing"] = value


def _checkpointing_pointless(situation: Situation) -> str | None:
    if situation.context.activation_checkpointing is None:
        return "the model has no switch for it (transformers' models do), or has not run yet"
    return None


def write_synchronized(draft: Draft, value: Value) -> None:
    """Write whether the throughput timer waits for the device."""
    draft.write(SYNCHRONIZED, value)


def threads(situation: Situation) -> int:
    """Return the threads of a rank as it runs now, or 0 where that is not known."""
    return situation.context.threads or 0


def thread_counts(situation: Situation) -> tuple[int, ...]:
    """Return the powers of two up to the host's cores."""
    cores = situation.context.cores or 1
    return tuple(2**power for power in range(cores.bit_length()) if 2**power <= cores)


def write_threads(draft: Draft, value: Value) -> None:
    """Set the OpenMP threads of every rank."""
    draft.environment["OMP_NUM_THREADS"] = str(value)


def _threads_pointless(situation: Situation) -> str | None:
    if situation.context.device != "cpu":
        return "the device computes, not the threads"
    return None if (situation.context.cores or 1) > 1 else "the host has one core"


def on_cuda(situation: Situation) -> bool:
    """Whether the job runs on CUDA devices."""
    return situation.context.device == "cuda"


KNOBS: tuple[Knob, ...] = (
    Knob(
        name="compile",
        applied=Applied.PROBE,
        path="compile",
        summary="engine.compile() before the first step",
        reason="fused kernels save memory traffic and launches",
        read=lambda situation: False,
        values=lambda situation: (False, True),
        apply=write_compile,
        accepts=one_of(False, True),
        pointless=_compile_pointless,
        # On a CPU the compilation takes longer than most trials.
        by_default=on_cuda,
        structural=True,
        ordered=False,
        weight=3.0,
        promising=lambda values: True,
        witness="graphs compiled, counted by the probe",
    ),
    Knob(
        name="activation_checkpointing",
        applied=Applied.PROBE,
        path="activation_checkpointing",
        summary="whether the model recomputes activations in the backward pass (transformers' models)",
        reason="recomputing costs time and frees memory for larger micro batches; without need it only costs",
        read=lambda situation: situation.context.activation_checkpointing,
        values=lambda situation: (False, True),
        apply=write_checkpointing,
        accepts=one_of(False, True),
        pointless=_checkpointing_pointless,
        # A host's memory is seldom what stops a larger micro batch.
        by_default=on_cuda,
        structural=True,
        ordered=False,
        weight=2.0,
        witness="layers that recompute, counted by the probe",
    ),
    Knob(
        name="fused_optimizer",
        applied=Applied.CONFIG,
        path=FUSED,
        summary="torch's Adam as one fused kernel",
        reason="one pass over the parameters in place of several",
        read=fused,
        values=lambda situation: (False, True),
        apply=write_fused,
        accepts=one_of(False, True),
        pointless=_fused_pointless,
        changes_checkpoint=True,
        ordered=False,
        promising=lambda values: True,
        witness="the config in the journal's header",
    ),
    Knob(
        name="throughput_timer_synchronized",
        applied=Applied.CONFIG,
        path=SYNCHRONIZED,
        summary="whether DeepSpeed's throughput timer waits for the device in every micro step",
        reason="without the wait the host runs ahead of the device",
        read=lambda situation: bool(known(situation.config, SYNCHRONIZED, True)),
        values=lambda situation: (True, False),
        apply=write_synchronized,
        accepts=one_of(False, True),
        by_default=on_cuda,
        ordered=False,
        promising=lambda values: False,
        witness="the config in the journal's header",
    ),
    Knob(
        name="threads",
        applied=Applied.ENVIRONMENT,
        path="OMP_NUM_THREADS",
        summary="CPU threads of one rank; 0 leaves them as they are",
        reason="ranks that share cores get in each other's way with too many threads",
        read=threads,
        values=thread_counts,
        apply=write_threads,
        accepts=whole_numbers(1),
        pointless=_threads_pointless,
        weight=2.0,
        witness="threads in the journal's header",
    ),
)
