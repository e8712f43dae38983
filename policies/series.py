"""Every series that some rule looks at, by source, with its samples.

A reading of a source is whole: what it does not give is stale from then on. A series belongs to the source
that gives it; while that source does, the same series from another one is left out.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate

from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable
from flyball.policies.reading_layout import Brought, ReadingLayout
from flyball.policies.sample_grid import SampleGrid, present
from flyball.policies.selection import labels_of
from flyball.policies.windows import Moment

RowsSample = tuple[Metric, tuple[str, ...], list[float]]
"""A metric, the values of its labels, and what its rows in a grid hold: of a histogram cumulative counts."""
_MINUTES = (0, 0.25, 0.5, 1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 180, 240, 360, 480, 720, 1080, 1440)
RETENTIONS_MS = tuple(int(minutes * 60_000) for minutes in _MINUTES)


def retention_class(retention_ms: int) -> int:
    """Rounded up to one of few, so that many series share a grid."""
    place = bisect_left(RETENTIONS_MS, retention_ms)
    return RETENTIONS_MS[place] if place < len(RETENTIONS_MS) else retention_ms


@dataclass(slots=True, eq=False)
class Series:
    """One series; compared by identity."""

    metric: Metric
    values: tuple[str, ...]
    """Of ``metric.labels``."""
    labels: dict[str, str]
    grid: SampleGrid
    row: int
    """The first of its rows in ``grid``."""

    @property
    def width(self) -> int:
        """A histogram has a row for each bucket and one for its sum."""
        return len(self.metric.bounds) + 2 if self.metric.kind is Kind.HISTOGRAM else 1

    @property
    def is_current(self) -> bool:
        """Whether the last reading gave it."""
        return self.grid.is_current(self.row)

    def holds_at(self, at: Moment) -> bool:
        """Whether it has a sample that holds at this time."""
        line = self.grid.line_at(at.time_ms)
        recent = line >= 0 and int(self.grid.times[line]) >= at.time_ms - at.lookback_ms
        return recent and self.grid.has(self.row, line)


def standing(every: Iterable[Series], at: Moment) -> Iterator[Series]:
    """Yield those that have a sample that holds at this time."""
    lines: dict[SampleGrid, list[bool]] = {}
    for series in every:
        there = lines.get(series.grid)
        if there is None:
            there = lines[series.grid] = _standing_rows(series.grid, at)
        if there and there[series.row]:
            yield series


def _standing_rows(grid: SampleGrid, at: Moment) -> list[bool]:
    line = grid.line_at(at.time_ms)
    if line < 0 or int(grid.times[line]) < at.time_ms - at.lookback_ms:
        return []
    there: list[bool] = present(grid.cells[line]).tolist()
    return there


@dataclass(slots=True, eq=False)
class _Source:
    last_ms: int = -(2**62)
    grids: dict[int, SampleGrid] = field(default_factory=dict)
    pending: dict[SampleGrid, Brought] = field(default_factory=dict)
    series: dict[Metric, dict[tuple[str, ...], Series]] = field(default_factory=dict)
    left_out: set[tuple[Metric, tuple[str, ...]]] = field(default_factory=set)
    """Of the last reading: what no rule looks at, or what belongs to another source."""
    layout: ReadingLayout | None = None
    """Of the last reading, where the same series again would be taken in the same way."""

    def begin(self) -> dict[SampleGrid, Brought]:
        """A new reading, empty so far."""
        for brought in self.pending.values():
            brought.rows.clear()
            brought.values.clear()
        return self.pending

    def end(self, time_ms: int, left_out: set[tuple[Metric, tuple[str, ...]]]) -> None:
        """The reading is whole: into the grids with it."""
        self.left_out, self.last_ms = left_out, time_ms
        for grid, brought in self.pending.items():
            grid.append(time_ms, brought.rows, brought.values)

    def grid(self, retention_ms: int) -> SampleGrid:
        """The one for series that are needed so long."""
        kept = retention_class(retention_ms)
        if kept not in self.grids:
            grid = self.grids[kept] = SampleGrid(kept)
            self.pending[grid] = Brought([], [])
        return self.grids[kept]


def _put(value: float | Distribution, series: Series, into: Brought) -> bool:
    """Put a value into a series' rows; False where it does not fit there."""
    if not isinstance(value, Distribution):
        into.rows.append(series.row)
        into.values.append(value)
    elif len(value.counts) + 1 == series.width:
        into.rows.extend(range(series.row, series.row + series.width))
        into.values.extend(accumulate(value.counts))
        into.values.append(value.sum)
    else:
        return False
    return True


class SeriesStore:
    """Takes readings and keeps what ``retention`` says: how long the samples of a series are needed, or None.

    ``is_needed`` says whether any series of a metric is; ``admitted`` and ``forgotten`` hear of every series
    that comes and goes.
    """

    def __init__(
        self,
        is_needed: Callable[[Metric], bool],
        retention: Callable[[Metric, dict[str, str]], int | None],
        admitted: Callable[[Series], None],
        forgotten: Callable[[Series], None],
    ) -> None:
        self._is_needed, self._retention = is_needed, retention
        self._admitted, self._forgotten = admitted, forgotten
        self._unneeded: set[Metric] = set()
        """Of which no series is needed, as far as it was asked."""
        self._sources: dict[str, _Source] = {}
        self._owners: dict[tuple[Metric, tuple[str, ...]], tuple[_Source, Series]] = {}

    def __iter__(self) -> Iterator[Series]:
        return (series for _, series in self._owners.values())

    def __len__(self) -> int:
        return len(self._owners)

    @property
    def cells(self) -> int:
        """For how many samples there is room in all grids."""
        grids = (grid for source in self._sources.values() for grid in source.grids.values())
        return sum(grid.cells.size for grid in grids)

    def stale(self, name: str, time_ms: int) -> None:
        """Nothing of what the source gave holds any longer, even where its clock went backwards since."""
        source = self._sources.get(name)
        if source:
            self.observe(name, max(time_ms, source.last_ms + 1), ())

    def observe(self, name: str, time_ms: int, samples: Iterable[Sample]) -> None:
        """One reading; one that is not later than the source's last is left out."""
        source = self._sources.setdefault(name, _Source())
        if time_ms <= source.last_ms:
            return
        samples = samples if isinstance(samples, tuple) else tuple(samples)
        if source.layout is not None and source.layout.take(time_ms, samples):
            source.last_ms = time_ms
            return
        left_out: set[tuple[Metric, tuple[str, ...]]] = set()
        known_series, pending = source.series, source.begin()
        taken: list[Series | None] = []
        for sample in samples:
            if isinstance(sample.value, Unavailable):
                continue
            known = known_series.get(sample.metric)
            series = known.get(sample.labels) if known else None
            if series is None and (known is not None or self._may_be_needed(sample.metric)):
                series = self._admit(source, sample.metric, sample.labels, left_out)
            if series is not None:
                if _put(sample.value, series, pending[series.grid]):
                    taken.append(series)
            elif sample.metric in self._unneeded or (sample.metric, sample.labels) in left_out:
                taken.append(None)  # else it is another source's, for now
        source.end(time_ms, left_out)
        if len(taken) == len(samples):
            source.layout = ReadingLayout(samples, taken, pending.items())

    def _may_be_needed(self, metric: Metric) -> bool:
        if metric not in self._unneeded and not self._is_needed(metric):
            self._unneeded.add(metric)
        return metric not in self._unneeded

    def record(self, name: str, time_ms: int, samples: Iterable[RowsSample]) -> None:
        """One reading, like :meth:`observe`, of series whose rows are known."""
        source = self._sources.setdefault(name, _Source())
        if time_ms <= source.last_ms:
            return
        left_out: set[tuple[Metric, tuple[str, ...]]] = set()
        known_series, pending = source.series, source.begin()
        for metric, labels, values in samples:
            series = known_series.get(metric, {}).get(labels) or self._admit(source, metric, labels, left_out)
            if series is not None:
                into = pending[series.grid]
                into.rows.extend(range(series.row, series.row + len(values)))
                into.values.extend(values)
        source.end(time_ms, left_out)

    def forget(self, time_ms: int, lookback_ms: int) -> None:
        """Let go of series that are stale and have nothing within their windows at this time."""
        for source, series in list(self._owners.values()):
            if series.grid.is_spent(series.row, time_ms, lookback_ms):
                self._drop(source, series)
        for name, source in list(self._sources.items()):
            if not source.series:
                source.grids.clear()
                source.pending.clear()
                source.layout = None
                if source.last_ms < time_ms - RETENTIONS_MS[-1]:
                    del self._sources[name]

    def rebuild(self) -> None:
        """Ask anew what is needed of every series and keep that much; what is no longer needed goes."""
        self._unneeded.clear()
        for source in self._sources.values():
            before = sorted(source.grids.values(), key=lambda grid: grid.end)
            source.grids, source.pending, source.left_out, source.layout = {}, {}, set(), None
            for series in [each for known in source.series.values() for each in known.values()]:
                kept = self._retention(series.metric, series.labels)
                if kept is None:
                    self._drop(source, series)
                    continue
                fresh = retention_class(kept) not in source.grids
                grid = source.grid(kept)
                if fresh:
                    grid.begin_from(before[-1])
                row = grid.allocate(series.width)
                for offset in range(series.width):
                    grid.copy_row(row + offset, series.grid, series.row + offset)
                series.grid, series.row = grid, row

    def _admit(
        self,
        source: _Source,
        metric: Metric,
        values: tuple[str, ...],
        left_out: set[tuple[Metric, tuple[str, ...]]],
    ) -> Series | None:
        key = metric, values
        owner = self._owners.get(key)
        if owner and not owner[1].is_current:
            self._drop(*owner)
            owner = None
        if owner:
            return None
        if key in source.left_out:
            left_out.add(key)
            return None
        labels = labels_of(metric, values)
        kept = self._retention(metric, labels)
        if kept is None:
            left_out.add(key)
            return None
        grid = source.grid(kept)
        row = grid.allocate(len(metric.bounds) + 2 if metric.kind is Kind.HISTOGRAM else 1)
        series = Series(metric=metric, values=values, labels=labels, grid=grid, row=row)
        source.series.setdefault(metric, {})[values] = series
        self._owners[key] = source, series
        self._admitted(series)
        return series

    def _drop(self, source: _Source, series: Series) -> None:
        del source.series[series.metric][series.values]
        if not source.series[series.metric]:
            del source.series[series.metric]
        del self._owners[series.metric, series.values]
        series.grid.release(series.row, series.width)
        source.layout = None
        self._forgotten(series)
