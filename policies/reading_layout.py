"""Where the samples of a reading go: the same for nearly every reading of a source."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from flyball.collectors.base import Distribution, Kind, Metric, Sample
from flyball.policies.sample_grid import SampleGrid

if TYPE_CHECKING:
    from flyball.policies.series import Series


@dataclass(slots=True, eq=False)
class Brought:
    """What a reading brings for one grid: numbers of rows, and their values."""

    rows: list[int]
    values: list[float]


class ReadingLayout:
    """The series of a source's last reading in its order, and the rows that they filled.

    Args:
        samples: of that reading.
        taken: the series that each went to; None where no rule looks at it.
        grids: all of the source, with what that reading brought.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        taken: Sequence["Series | None"],
        grids: Iterable[tuple[SampleGrid, Brought]],
    ) -> None:
        self._grids = [(grid, Brought(brought.rows.copy(), [])) for grid, brought in grids]
        into = {grid: brought.values for grid, brought in self._grids}
        self._places: list[tuple[Metric, tuple[str, ...], list[float] | None, int]] = [
            (one.metric, one.labels, into[series.grid] if series else None, _histogram_width(series))
            for one, series in zip(samples, taken, strict=True)
        ]

    def take(self, time_ms: int, samples: Sequence[Sample]) -> bool:
        """Put another reading into the grids; False, and nothing is done, where it is laid out otherwise."""
        for _, brought in self._grids:
            brought.values.clear()
        if len(samples) != len(self._places):
            return False
        for sample, (metric, labels, into, width) in zip(samples, self._places, strict=True):
            if sample.metric is not metric or sample.labels != labels:
                return False
            if into is None:
                continue
            value = sample.value
            if type(value) is float and not width:
                into.append(value)
            elif isinstance(value, Distribution) and len(value.counts) + 1 == width:
                into.extend(accumulate(value.counts))
                into.append(value.sum)
            else:
                return False
        for grid, brought in self._grids:
            grid.append(time_ms, brought.rows, brought.values)
        return True


def _histogram_width(series: "Series | None") -> int:
    return series.width if series and series.metric.kind is Kind.HISTOGRAM else 0
