"""What the journals of one run tell besides its rate: stretches of stepping, memory, links, waiting."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flyball.collectors import catalog
from flyball.collectors.distribution import Tally
from flyball.collectors.journal import RankJournal, Record
from flyball.tuners.measurement.series import number

Span = tuple[float, float]
_TOUCHING_SECONDS = 0.05
"""Steps that lie closer together follow one another."""
_STALL_FACTOR = 10.0
_STALL_FLOOR_SECONDS = 5.0
ON_CPU = "the ranks run on the CPU"


def stepping_spans(journal: RankJournal, engine: int, *, after_step: float = 0) -> list[Span]:
    """When one rank was stepping, seconds since the epoch; evaluation and checkpoints are left out.

    Args:
        journal: of the rank.
        engine: the one that trains.
        after_step: steps up to this one do not count.
    """
    spans: list[Span] = []
    for record in journal.steps(engine):
        if number(record.get("step")) <= after_step:
            continue
        end = number(record.get("time"))
        begin = end - number(record.get("seconds"))
        if spans and begin - spans[-1][1] < _TOUCHING_SECONDS:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return spans


def gpu_uuids(headers: Mapping[int, Record]) -> frozenset[str]:
    """The GPUs that the ranks use."""
    return frozenset(str(header["gpu_uuid"]) for header in headers.values() if header.get("gpu_uuid"))


def on_cpu(headers: Mapping[int, Record]) -> bool:
    """Whether every rank trains on the CPU."""
    return all(str(header.get("device")).startswith("cpu") for header in headers.values())


def startup(journals: Mapping[int, RankJournal]) -> dict[str, float]:
    """Seconds by part from start to first step, of the rank that made it last (docs/journal.md)."""
    records = [record for journal in journals.values() if (record := journal.last("startup")) is not None]
    if not records:
        return {}
    parts = max(records, key=lambda record: number(record.get("clock"))).get("seconds")
    if not isinstance(parts, Mapping):
        return {}
    return {str(part): number(seconds) for part, seconds in parts.items()}


def fragmentation_peak(journals: Mapping[int, RankJournal]) -> float | None:
    """1 - peak active / peak reserved of the rank where it is largest; None without a caching allocator."""
    found = [
        1 - active / reserved
        for active, reserved in map(_peaks, journals.values())
        if reserved > 0 and active <= reserved
    ]
    return max(found, default=None)


def _peaks(journal: RankJournal) -> tuple[float, float]:
    active = reserved = 0.0
    for record in journal.of_kind("step"):
        memory = record.get("memory") or {}
        active = max(
            active, *(number(memory.get(key)) for key in ("active", "peak_active", "peak_allocated"))
        )
        reserved = max(reserved, *(number(memory.get(key)) for key in ("reserved", "peak_reserved")))
    return active, reserved


def latencies(journals: Mapping[int, RankJournal]) -> list[dict[str, Any]]:
    """One-way latency of messages between ranks, by source and size class, over all pairs.

    Each has ``source``, ``size_class``, ``count``, ``p50_seconds`` and ``p99_seconds``.
    """
    tallies: dict[tuple[str, str], Tally] = {}
    for entry, bounds in _entries(journals, "p2p"):
        key = (str(entry.get("source")), str(entry.get("size_class")))
        _add(tallies.setdefault(key, Tally(catalog.P2P_LATENCY)), entry, bounds)
    order = {name: place for place, name in enumerate(catalog.SIZE_CLASSES)}
    return [
        {
            "source": source,
            "size_class": size_class,
            "count": sum(tally.counts),
            "p50_seconds": quantile(tally, 0.50),
            "p99_seconds": quantile(tally, 0.99),
        }
        for (source, size_class), tally in sorted(
            tallies.items(), key=lambda item: (item[0][0], order.get(item[0][1], len(order)))
        )
        if sum(tally.counts)
    ]


def communication_seconds(journals: Mapping[int, RankJournal], spans: Sequence[Span]) -> float | None:
    """Seconds that a rank spent in collectives within the spans, mean over the ranks; None where untimed.

    A record that stands just behind a span still speaks of it, so one second is allowed.
    """
    begin, end = (spans[0][0], spans[-1][1] + 1.0) if spans else (0.0, 0.0)
    entries = list(_entries(journals, "collectives", begin=begin, end=end))
    if not entries:
        return None
    return sum(number(entry.get("sum")) for entry, _ in entries) / len(journals)


def _entries(
    journals: Mapping[int, RankJournal], field: str, *, begin: float = 0.0, end: float = float("inf")
) -> Iterator[tuple[Mapping[str, Any], Sequence[float]]]:
    for journal in journals.values():
        for record in journal.of_kind("communication"):
            if begin <= number(record.get("time")) <= end:
                for entry in record.get(field) or ():
                    if isinstance(entry, Mapping):
                        yield entry, record.get("bounds") or ()


def _add(tally: Tally, entry: Mapping[str, Any], bounds: Sequence[float]) -> None:
    counts = entry.get("counts")
    if isinstance(counts, list) and len(counts) == len(bounds) + 1:
        tally.add(bounds, [int(number(count)) for count in counts], number(entry.get("sum")))


def quantile(tally: Tally, share: float) -> float:
    """A quantile of a histogram, on the line within its bucket; of the last bucket, its lower bound."""
    left = share * sum(tally.counts)
    lower = 0.0
    for count, upper in zip(tally.counts, tally.bounds, strict=False):
        if count and left <= count:
            return lower + (upper - lower) * left / count
        left -= count
        lower = upper
    return lower


def stalls(journals: Mapping[int, RankJournal]) -> dict[str, Any]:
    """Operations that waited for a peer, and steps that took far longer than the usual one.

    ``operations`` and ``longest_operation_seconds`` come from the flight recorder, and are None where there
    was none; ``steps`` counts steps of more than ten times the median and more than 5 s, of the rank that has
    most of them, and ``longest_step_seconds`` is the longest of these.
    """
    waits = [record for journal in journals.values() for record in journal.of_kind("pending")]
    begun = [record for record in waits if record.get("edge") == "begin"]
    slow = max((_slow_steps(journal) for journal in journals.values()), key=len, default=[])
    followed = bool(waits) or any(
        record.get("operations")
        for journal in journals.values()
        for record in journal.of_kind("communication")
    )
    longest = max((number(record.get("seconds")) for record in waits), default=0.0)
    return {
        "operations": len(begun) if followed else None,
        "longest_operation_seconds": longest if followed else None,
        "steps": len(slow),
        "longest_step_seconds": max(slow, default=0.0),
    }


def _slow_steps(journal: RankJournal) -> list[float]:
    seconds = [
        number(record.get("seconds")) / max(1.0, number(record.get("count", 1)))
        for record in journal.of_kind("step")
    ]
    if not seconds:
        return []
    limit = max(_STALL_FLOOR_SECONDS, _STALL_FACTOR * sorted(seconds)[len(seconds) // 2])
    # The first step holds what is built and compiled on the way to it.
    return [each for each in seconds[1:] if each > limit]
