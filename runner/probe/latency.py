"""Histograms of how long communication took, by operation and by link, until the next record takes them."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BOUNDS = (
    *(2e-6, 5e-6, 10e-6, 15e-6, 20e-6, 30e-6, 40e-6, 50e-6, 75e-6, 100e-6, 150e-6, 200e-6, 300e-6, 500e-6),
    *(1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 100e-3, 200e-3, 500e-3, 1.0, 5.0),
)
"""Upper bounds of the buckets in seconds; each belongs to its bucket."""
SIZE_CLASSES = ((8 << 10, "8KiB"), (64 << 10, "64KiB"), (1 << 20, "1MiB"), (16 << 20, "16MiB"))
RECORD_INTERVAL_SECONDS = 1.0


def size_class(size_bytes: int) -> str:
    """The class that a message of this size belongs to, by the largest one in it."""
    for limit, name in SIZE_CLASSES:
        if size_bytes <= limit:
            return name
    return "larger"


class Histogram:
    """Observations by bucket, one bucket more than there are bounds, and their sum in seconds."""

    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    def fields(self) -> dict[str, Any]:
        """As the journal writes it; nine digits are nanoseconds."""
        return {"counts": self.counts, "sum": round(self.sum, 9)}


class Latencies:
    """What was observed since the last ``communication`` record of one thread."""

    __slots__ = ("collectives", "operations", "p2p", "written")

    def __init__(self) -> None:
        self.collectives: dict[tuple[str, str, str], Histogram] = {}
        self.p2p: dict[tuple[int, int, str, str], Histogram] = {}
        self.operations: dict[str, int] = {}
        self.written = float("-inf")

    def collective(self, op: str, size_bytes: int, source: str, seconds: float) -> None:
        """One collective operation on this rank."""
        key = (op, size_class(size_bytes), source)
        histogram = self.collectives.get(key)
        if histogram is None:
            histogram = self.collectives[key] = Histogram()
        histogram.observe(seconds)

    def message(self, src: int, dst: int, size_bytes: int, source: str, seconds: float) -> None:
        """One message between two global ranks, one way."""
        key = (src, dst, size_class(size_bytes), source)
        histogram = self.p2p.get(key)
        if histogram is None:
            histogram = self.p2p[key] = Histogram()
        histogram.observe(seconds)

    def begun(self, op: str, times: int) -> None:
        """Operations that were seen to begin."""
        self.operations[op] = self.operations.get(op, 0) + times

    def due(self, clock: float) -> bool:
        """Whether there is something to write and the last record is old enough."""
        return clock - self.written >= RECORD_INTERVAL_SECONDS and bool(
            self.collectives or self.p2p or self.operations
        )

    def take(self, clock: float) -> dict[str, Any] | None:
        """The fields of a ``communication`` record, or None without an observation; counting starts anew."""
        collectives, self.collectives = self.collectives, {}
        p2p, self.p2p = self.p2p, {}
        operations, self.operations = self.operations, {}
        if not (collectives or p2p or operations):
            return None
        self.written = clock
        fields: dict[str, Any] = {
            "bounds": BOUNDS,
            "collectives": [
                {"op": op, "size_class": size, "source": source, **histogram.fields()}
                for (op, size, source), histogram in collectives.items()
            ],
            "p2p": [
                {"src": src, "dst": dst, "size_class": size, "source": source, **histogram.fields()}
                for (src, dst, size, source), histogram in p2p.items()
            ],
        }
        if operations:
            fields["operations"] = operations
        return fields

    def clear(self) -> None:
        """Forget everything: a new activation."""
        self.collectives.clear()
        self.p2p.clear()
        self.operations.clear()
        self.written = float("-inf")


LATENCIES = Latencies()
"""Of the threads that train; a thread of the probe's own keeps its own."""
