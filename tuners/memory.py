"""Which points certainly do not fit: a lower bound from ZeRO's formulas, and what has run out before.

It rejects only what cannot fit. Activations, buckets and fragmentation come on top and are left out.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from flyball.tuners.base import Assignment
from flyball.tuners.config import known
from flyball.tuners.context import Context, replicas_of
from flyball.tuners.shape import MAX_STAGE, offloads, optimizer_type, precision, precision_is_open, stage_of

GROWING = frozenset(
    {
        "micro_batch",
        "reduce_bucket_size",
        "allgather_bucket_size",
        "stage3_prefetch_bucket_size",
        "stage3_param_persistence_threshold",
    }
)
"""Knobs whose larger values never need less memory, everything else alike."""
NEUTRAL = frozenset({"threads", "throughput_timer_synchronized"})
"""Knobs that do not touch the memory of a device."""
LIGHT = NEUTRAL | {
    "communication_data_type",
    "overlap_comm",
    "reduce_scatter",
    "contiguous_gradients",
    "fused_optimizer",
}
"""Knobs that touch the memory of a device little, though not certainly not at all."""
SHRINKING = frozenset({"zero_stage", "activation_checkpointing"})
"""Knobs whose larger values mostly need less memory."""
ADAM_STATE_BYTES = 8
"""Two moments in fp32 for each parameter."""


def least_bytes(config: Mapping[str, Any], context: Context) -> int | None:
    """Return a lower bound of one rank's device memory in bytes; None where the model's size is not known.

    Parameters and gradients in the model's format, fp32 master weights where that is 16 bits, and Adam's two
    moments, each divided over the replicas from the stage on that partitions it (Rajbhandari et al., arXiv
    1910.02054, table 1). With an optimizer that is not known to be Adam no moments are counted; offloaded
    parts and models split over ranks are not counted at all.
    """
    if context.parameters is None or context.model_parallel or context.pipeline or precision_is_open(config):
        return None
    replicas, stage = replicas_of(config, context), stage_of(config)
    element = 4 if precision(config) == "fp32" else 2
    states = _optimizer_bytes(config, element)
    counted = [(element, stage >= MAX_STAGE or offloads(config, "param"))]
    if not offloads(config, "optimizer"):
        counted += [(element, stage >= 2), (states, stage >= 1)]
    return sum(
        context.parameters * size // (replicas if partitioned else 1)
        for size, partitioned in counted
        if not (size == element and offloads(config, "param"))
    )


def _optimizer_bytes(config: Mapping[str, Any], element: int) -> int:
    masters = 4 if element == 2 and not _low_precision_masters(config) else 0
    adam = (optimizer_type(config) or "").lower() in ("adam", "adamw") and not _low_precision_masters(config)
    return masters + (ADAM_STATE_BYTES if adam else 0)


def _low_precision_masters(config: Mapping[str, Any]) -> bool:
    keys = ("bf16.bf16_master_weights_and_grads", "fp16.fp16_master_weights_and_grads")
    return any(known(config, key, False) for key in keys)


def cannot_fit(config: Mapping[str, Any], context: Context) -> str | None:
    """Return why a config certainly runs out of device memory, or None where it may fit."""
    need, have = least_bytes(config, context), context.device_memory_bytes
    if need is None or have is None or context.device == "cpu" or need <= have:
        return None
    return f"needs at least {need / 2**30:.1f} GiB of {have / 2**30:.1f} GiB a device"


def at_least_as_heavy(point: Assignment, other: Assignment) -> bool:
    """Whether ``point`` certainly needs no less memory than ``other``: alike but for knobs that only add."""
    for name in {*point, *other} - NEUTRAL:
        if name not in point or name not in other:
            return False
        here, there = point[name], other[name]
        if name in GROWING and here >= there:  # type: ignore[operator]
            continue
        if here != there:
            return False
    return True


def ran_out_before(point: Assignment, exhausted: Iterable[Assignment]) -> bool:
    """Whether a point no heavier than this one has already run out of memory."""
    return any(at_least_as_heavy(point, other) for other in exhausted)
