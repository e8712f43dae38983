"""How knobs move memory, and which points are no lighter than one that has run out of it before."""

from collections.abc import Iterable

from flyball.tuners.base import Assignment

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
