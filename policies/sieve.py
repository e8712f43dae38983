"""What certainly does not hold, found out for few series at a fraction of the cost.

What is worked out for many series at once costs for one as much as for fifty. So a value is bounded first,
one series after the other: where no value within the bounds meets the condition, nothing more is done. What
is unusual (NaN, gaps, resets, a value near the threshold) is left to be worked out exactly.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from flyball.policies.aggregates import mean_error
from flyball.policies.recipe import Recipe
from flyball.policies.rule import QUANTILES, Aggregate, Arithmetic, Comparison
from flyball.policies.sample_grid import Floats, Rows, SampleGrid
from flyball.policies.windows import Moment, Window

Bounds = tuple[float, float]
"""The least and the most that a value can be; it is not NaN."""
Bounder = Callable[[int], Bounds | None]
"""Of a row; None where nothing is certain."""

NO_VALUE: Bounds = (math.inf, -math.inf)
"""There is certainly none, as of a window before the first reading."""
_ROUNDING = 1e-12
"""Relative, and far above what the few operations behind a bound can lose."""

POSSIBLE: Mapping[Comparison, Callable[[float, float, float], bool]] = {
    Comparison.ABOVE: lambda _, most, threshold: most > threshold,
    Comparison.AT_LEAST: lambda _, most, threshold: most >= threshold,
    Comparison.BELOW: lambda least, _, threshold: least < threshold,
    Comparison.AT_MOST: lambda least, _, threshold: least <= threshold,
    Comparison.EQUAL: lambda least, most, threshold: least <= threshold <= most,
    Comparison.NOT_EQUAL: lambda least, most, threshold: not least == most == threshold,
    Comparison.NAN: lambda _least, _most, _threshold: False,
}
"""By comparison, whether some value from the least to the most meets the condition with this threshold."""


def bounder(recipe: Recipe, grid: SampleGrid, at: Moment) -> Bounder:
    """Bounds what a recipe makes of the series of a grid; a histogram's row is its first."""
    end_ms = at.time_ms - recipe.offset_ms
    if recipe.aggregate is Aggregate.LAST:
        line = grid.line_at(end_ms)
        is_old = line < 0 or grid.times.item(line) < end_ms - (recipe.reach_ms or at.lookback_ms)
        return _no_value if is_old else partial(_cell, grid.cells, line)
    window = Window(grid, end_ms - recipe.window_ms, end_ms)
    is_counted = recipe.aggregate in (Aggregate.RATE, Aggregate.INCREASE)
    if window.lines < (1 if recipe.bounds is None and not is_counted else 2):
        return _nothing if recipe.reach_ms else _no_value
    if window.is_still and (is_counted or recipe.bounds is None):
        return _zero if is_counted else partial(_constant, grid.cells, window.first)
    per = window.seconds if recipe.aggregate is Aggregate.RATE else 1.0
    if recipe.bounds is not None:
        counts = len(recipe.bounds)
        if recipe.aggregate in QUANTILES:
            return _nothing
        return lambda row: (
            _increase(window, row + counts, per) if is_counted else _mean_of(window, row + counts)
        )
    if is_counted:
        return lambda row: _increase(window, row, per)
    return partial(_mean if recipe.aggregate is Aggregate.AVG else _extremes, window)


def combined(arithmetic: Arithmetic, left: Bounds | None, right: Bounds | None) -> Bounds | None:
    """Of two operands' bounds; each operation rises or falls with each operand, and so does its rounding."""
    if NO_VALUE in (left, right):
        return NO_VALUE
    if left is None or right is None or not all(map(math.isfinite, (*left, *right))):
        return None
    match arithmetic:
        case Arithmetic.PLUS:
            corners = [left[0] + right[0], left[1] + right[1]]
        case Arithmetic.MINUS:
            corners = [left[0] - right[1], left[1] - right[0]]
        case Arithmetic.TIMES:
            corners = [a * b for a in left for b in right]
        case Arithmetic.DIVIDED_BY:
            if right[0] <= 0:
                return None
            corners = [a / b for a in left for b in right]
    return min(corners), max(corners)


def none_rose(recipe: Recipe, grid: SampleGrid, rows: Rows, at: Moment) -> bool:
    """Whether no counter of these rose within the window, as errors do not: each increase is 0, if any."""
    end_ms = at.time_ms - recipe.offset_ms
    window = Window(grid, end_ms - recipe.window_ms, end_ms)
    if window.lines < 2:
        return not recipe.reach_ms
    if window.is_still:
        return True
    begun = grid.base + window.first
    if int(grid.gap[rows].max()) >= begun or int(grid.reset[rows].max()) > begun:
        return False
    first, last = grid.cells[window.first].take(rows), grid.cells[window.stop - 1].take(rows)
    return bool((first == last).all())


def _nothing(row: int) -> None:
    del row


def _no_value(row: int) -> Bounds:
    del row
    return NO_VALUE


def _checked(least: float, most: float) -> Bounds | None:
    # False where one of them is NaN.
    return (least, most) if least <= most else None


def _cell(cells: Floats, line: int, row: int) -> Bounds | None:
    value = cells.item(line, row)
    return _checked(value, value)


def _zero(row: int) -> Bounds:
    del row
    return 0.0, 0.0


def _constant(cells: Floats, line: int, row: int) -> Bounds | None:
    value = cells.item(line, row)
    return _rounded(value, value)


def _mean(window: Window, row: int) -> Bounds | None:
    if not _is_whole(window, row):
        return None
    samples = window.grid.cells[window.first : window.stop, row]
    value = float(np.add.reduce(samples)) / len(samples)
    error = mean_error(len(samples), float(samples.dot(samples)))
    return _checked(value - error, value + error)


def _extremes(window: Window, row: int) -> Bounds | None:
    # Either is NaN where a sample is, or is absent.
    samples = window.grid.cells[window.first : window.stop, row]
    return _rounded(float(np.minimum.reduce(samples)), float(np.maximum.reduce(samples)))


def _mean_of(window: Window, counts: int) -> Bounds | None:
    number, total = _increase(window, counts, 1.0), _increase(window, counts + 1, 1.0)
    return combined(Arithmetic.DIVIDED_BY, total, number)


def _increase(window: Window, row: int, per: float) -> Bounds | None:
    """As flyball.policies.counter_rates works it out."""
    grid = window.grid
    if not _is_whole(window, row) or grid.reset.item(row) > grid.base + window.first:
        return None
    first, last = grid.cells.item(window.first, row), grid.cells.item(window.stop - 1, row)
    risen = last - first
    if risen == 0:
        return 0.0, 0.0
    begin_ms, end_ms = grid.times.item(window.first), grid.times.item(window.stop - 1)
    sampled = (end_ms - begin_ms) / 1000
    between = sampled / (window.lines - 1)
    to_start, to_end = (begin_ms - window.start_ms) / 1000, (window.end_ms - end_ms) / 1000
    if risen > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / risen))
    near, far = between * 1.1, between / 2
    stretched = sampled + (to_start if to_start < near else far) + (to_end if to_end < near else far)
    value = risen * (stretched / sampled / per)
    return _rounded(value, value)


def _is_whole(window: Window, row: int) -> bool:
    return window.grid.gap.item(row) < window.grid.base + window.first


def _rounded(least: float, most: float) -> Bounds | None:
    return _checked(least - abs(least) * _ROUNDING, most + abs(most) * _ROUNDING)
