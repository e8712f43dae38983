"""Makes series that can be played of what a file of tests says."""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator

from flyball.collectors.base import Distribution, Kind
from flyball.policies.expectation_keys import SeriesKeys
from flyball.policies.keys import Read
from flyball.policies.replay import PlayedSeries, Point
from flyball.policies.series_notation import Mark, NotationError, read_identity, read_values


def read_series(read: Read[SeriesKeys]) -> PlayedSeries | None:
    """Return one series; None, and faults, where it cannot be read."""
    identity, values = None, None
    for key, mend in (("series", "name one"), ("values", "write some, as in '0.9x10'")):
        if not read.has(key) and key not in read.wrong:
            read.add("", f"{key} is missing", mend=mend)
    try:
        identity = read_identity(read.keys.series) if read.has("series") else None
    except NotationError as refusal:
        read.faults.add_refusal([*read.at, "series"], refusal)
    try:
        values = read_values(read.keys.values) if read.has("values") else None
    except NotationError as refusal:
        read.faults.add_refusal([*read.at, "values"], refusal)
    if identity is None or values is None:
        return None
    is_histogram = identity.metric.kind is Kind.HISTOGRAM
    if read.has("observations") and not is_histogram:
        mend = "take it out"
        read.add("observations", f"{identity.metric.name} is no histogram", mend=mend)
    points: Iterable[Point] = values
    if is_histogram:
        points = observed(values, identity.metric.bounds, count=read.keys.observations)
    return PlayedSeries(identity=identity, points=tuple(points))


def observed(values: Iterable[float | Mark], bounds: tuple[float, ...], *, count: int) -> Iterator[Point]:
    """Yield a histogram's states, where each value was observed ``count`` times since the reading before.

    NaN stands for a reading before which nothing was observed. A histogram that was gone begins anew.
    """
    counts, total = [0] * (len(bounds) + 1), 0.0
    for value in values:
        if value is Mark.STALE:
            counts, total = [0] * len(counts), 0.0
        if isinstance(value, Mark):
            yield value
            continue
        if not math.isnan(value):
            counts[bisect_left(bounds, value)] += count
            total += value * count
        yield Distribution(counts=tuple(counts), sum=total)
