"""Panels of the Run dashboard about torch's caching allocator."""

from flyball.collectors import catalog
from grafana.frame import Panel
from grafana.panels import Limit, Query, lines
from grafana.query import most, select
from grafana.run_steps import MINE, of_rank, rate_of_rank

FRAGMENTED = 0.30
"""Above this, by method peak, the default policy raises its alert."""

WHAT = {
    "peak": "1 - peak active / peak reserved: what was reserved and never usable at once. Above the line the "
    "default policy raises its alert; expandable segments are the first thing to try.",
    "slack": "1 - active / reserved, now. High between steps is normal: the cache waits for the next one.",
    "inactive_split": "Free bytes in split blocks over reserved. Absent under expandable segments.",
    "external": "1 - largest free block / free bytes, from a snapshot now and then: whether one large tensor "
    "would still fit into what is free.",
}
"""The definitions of fragmentation, by the value of ``method``."""


def panels() -> list[Panel]:
    """Fragmentation by each of its definitions, then what the allocator holds."""
    return [*fragmentation(), *held()]


def fragmentation() -> list[Panel]:
    """One panel a method: they measure different things and share no limit."""
    return [
        lines(
            f"Fragmentation, {method.replace('_', ' ')}",
            description,
            "percentunit",
            Query(
                expression=most("rank", select(catalog.ALLOCATOR_FRAGMENTATION, **MINE, method=f"={method}")),
                legend="rank {{rank}}",
            ),
            limit=Limit(value=FRAGMENTED) if method == "peak" else None,
            top=1,
            width=6,
        )
        for method, description in WHAT.items()
    ]


def held() -> list[Panel]:
    """Bytes, and the failures that want of them causes."""
    kinds = [
        ("Allocated", "Bytes in tensors.", catalog.ALLOCATOR_ALLOCATED),
        ("Reserved", "Bytes that the allocator holds of the device.", catalog.ALLOCATOR_RESERVED),
        ("Active", "Bytes in tensors or waiting for their stream.", catalog.ALLOCATOR_ACTIVE),
        (
            "Inactive split",
            "Free bytes in split blocks, lost to the device; absent under expandable segments.",
            catalog.ALLOCATOR_INACTIVE_SPLIT,
        ),
    ]
    curves: list[Panel] = [
        lines(title, description, "bytes", of_rank(metric), width=6) for title, description, metric in kinds
    ]
    return [
        *curves,
        lines(
            "Allocation retries a second",
            "Allocations that succeeded only after the cache was flushed: each stalls the rank, and "
            "out-of-memory is near.",
            "short",
            rate_of_rank(catalog.ALLOCATOR_RETRIES),
            width=12,
        ),
        lines(
            "Allocations that failed",
            "Out-of-memory errors of each rank since it began.",
            "short",
            of_rank(catalog.ALLOCATOR_OOMS),
            width=12,
        ),
    ]
