"""What is made of a series, whichever it is."""

import math
from dataclasses import dataclass, replace

import numpy as np

from flyball.collectors.base import Kind
from flyball.policies.aggregates import (
    Values,
    estimated_mean,
    exact_mean,
    extreme,
    latest,
    newest,
    quantiles,
)
from flyball.policies.counter_rates import histogram_means, histogram_quantiles, increases
from flyball.policies.rule import QUANTILES, Aggregate, Operand
from flyball.policies.sample_grid import Rows, SampleGrid
from flyball.policies.windows import Moment, Window, milliseconds


@dataclass(frozen=True, slots=True)
class Recipe:
    """An operand's aggregate and its times, without its selector."""

    aggregate: Aggregate
    window_ms: int
    offset_ms: int
    bounds: tuple[float, ...] | None
    """Of a histogram."""
    reach_ms: int = 0
    """How far the window reaches back where it has no value; 0 for no further."""

    @classmethod
    def of(cls, operand: Operand, within_seconds: float = 0.0) -> "Recipe":
        """Of an operand, of a rule that remembers its phase for so long."""
        histogram = operand.metric.kind is Kind.HISTOGRAM
        return cls(
            operand.aggregate,
            milliseconds(operand.window_seconds),
            milliseconds(operand.offset_seconds),
            operand.metric.bounds if histogram else None,
            milliseconds(within_seconds) if within_seconds > operand.window_seconds else 0,
        )

    def values(self, grid: SampleGrid, rows: Rows, at: Moment, *, exact: bool) -> Values:
        """For each of the rows (a histogram's first)."""
        end = at.time_ms - self.offset_ms
        if self.aggregate is Aggregate.LAST:
            if self.reach_ms:
                return newest(Window(grid, end - self.reach_ms, end), rows)
            return latest(grid, rows, end, at.lookback_ms)
        found = self._of_window(Window(grid, end - self.window_ms, end), rows, exact=exact)
        if not self.reach_ms:
            return found
        if self.bounds is not None and self.aggregate in (Aggregate.AVG, *QUANTILES):
            # What is not a number observed nothing.
            found = replace(found, valid=found.valid & (found.values > -math.inf))
        missing = np.flatnonzero(~found.valid)
        if not len(missing):
            return found
        further = Window(grid, end - self.reach_ms, end)
        return found.filled(missing, self._of_window(further, rows[missing], exact=exact))

    def _of_window(self, window: Window, rows: Rows, *, exact: bool) -> Values:
        if self.bounds is not None:
            return self._of_histograms(window, rows, self.bounds)
        match self.aggregate:
            case Aggregate.AVG:
                return exact_mean(window, rows) if exact else estimated_mean(window, rows)
            case Aggregate.MIN | Aggregate.MAX:
                return extreme(window, rows, largest=self.aggregate is Aggregate.MAX)
            case Aggregate.RATE | Aggregate.INCREASE:
                return increases(window, rows, per_second=self.aggregate is Aggregate.RATE)
            case _:
                return quantiles(window, rows, QUANTILES[self.aggregate])

    def _of_histograms(self, window: Window, rows: Rows, bounds: tuple[float, ...]) -> Values:
        counts = rows + len(bounds)
        if self.aggregate is Aggregate.AVG:
            return histogram_means(window, counts, counts + 1)
        if self.aggregate in QUANTILES:
            return histogram_quantiles(window, rows, bounds, QUANTILES[self.aggregate])
        return increases(window, counts, per_second=self.aggregate is Aggregate.RATE)
