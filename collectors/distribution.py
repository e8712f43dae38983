"""Counts observations into a histogram's buckets."""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any

from flyball.collectors.base import Distribution, Metric


class Tally:
    """A histogram that grows. Bounds are upper bounds and belong to their bucket, as in Prometheus."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, metric: Metric) -> None:
        self.bounds = metric.bounds
        self.counts = [0] * (len(metric.bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count one value, ``times`` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def add(self, bounds: Sequence[float], counts: Sequence[int], total: float) -> None:
        """Add a histogram that was counted elsewhere.

        Args:
            bounds: its own upper bounds; a bucket goes where its upper bound belongs.
            counts: one more than there are bounds.
            total: the sum of its values.

        Raises:
            ValueError: counts and bounds do not fit together.
        """
        if len(counts) != len(bounds) + 1:
            raise ValueError(f"{len(counts)} counts for {len(bounds)} bounds")
        for index, count in enumerate(counts):
            if count:
                place = bisect_left(self.bounds, bounds[index]) if index < len(bounds) else len(self.bounds)
                self.counts[place] += count
        self.sum += total

    def distribution(self) -> Distribution:
        """What was counted so far."""
        return Distribution(counts=tuple(self.counts), sum=self.sum)

    def document(self) -> dict[str, Any]:
        """As JSON, to go on from after a restart."""
        return {"counts": list(self.counts), "sum": self.sum}

    def restore(self, document: dict[str, Any]) -> None:
        """Go on from :meth:`document`; one with other buckets is left aside."""
        if len(document["counts"]) == len(self.counts):
            self.counts, self.sum = [int(count) for count in document["counts"]], float(document["sum"])
