"""What a rule may raise an alert for, and the batches in which that is decided.

Candidates of all rules that make the same thing of series of the same grid stand in one batch and are worked
out together.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flyball.policies import sieve
from flyball.policies.aggregates import Values, latest, newest
from flyball.policies.recipe import Recipe
from flyball.policies.rule import Aggregate, Arithmetic, Comparison
from flyball.policies.sample_grid import Floats, Mask, Rows, SampleGrid
from flyball.policies.series import Series
from flyball.policies.states import Subject
from flyball.policies.windows import Moment, Window

_FEW = 8
"""Up to which each candidate is looked at by itself first."""

_COMPARE: dict[Comparison, Callable[[Floats, Floats], Any]] = {
    Comparison.ABOVE: np.greater,
    Comparison.AT_LEAST: np.greater_equal,
    Comparison.BELOW: np.less,
    Comparison.AT_MOST: np.less_equal,
    Comparison.EQUAL: np.equal,
    Comparison.NOT_EQUAL: np.not_equal,
    Comparison.NAN: lambda values, thresholds: np.isnan(values),
}


@dataclass(slots=True, eq=False)
class Candidate:
    """One series (with its partner where two metrics are compared) under one rule."""

    rule: int
    """Which one, in the engine's order."""
    threshold: float
    left: Series
    right: Series | None
    subject: Subject | None = None
    """Worked out when it is first needed."""


@dataclass(slots=True, eq=False)
class Batch:
    """Candidates that are worked out in one go."""

    left: Recipe
    left_grid: SampleGrid
    comparison: Comparison
    arithmetic: Arithmetic | None = None
    right: Recipe | None = None
    right_grid: SampleGrid | None = None
    memory_ms: int = 0
    """For so long a sample is current."""
    candidates: dict[Candidate, None] = field(default_factory=dict)
    _arranged: tuple[list[Candidate], Rows, Rows, Floats] | None = None
    _decided: tuple[Moment, frozenset[Candidate]] | None = None
    _holds_of_zero: bool | None = None
    _ruled_out: tuple[int, ...] | None = None
    """Numbers of the newest lines of both grids whose samples meet the condition for no candidate."""

    def add(self, candidate: Candidate) -> None:
        """From the next time on."""
        self.candidates[candidate] = None
        self._arranged = self._decided = self._ruled_out = self._holds_of_zero = None

    def remove(self, candidate: Candidate) -> None:
        """It must be there."""
        del self.candidates[candidate]
        self._arranged = self._decided = self._ruled_out = self._holds_of_zero = None

    def met(
        self, at: Moment, is_asked: Callable[[Candidate], bool] = lambda _: True
    ) -> list[tuple[Candidate, float]]:
        """Candidates with a current sample whose condition holds, each with its value.

        Those of which ``is_asked`` is false may be left out.
        """
        candidates, left, right, thresholds = self._arrange()
        if len(candidates) <= _FEW:
            # Nearly always nothing may hold: whether it is asked for comes second.
            places = [n for n in self._may_hold(candidates, at) if is_asked(candidates[n])]
            if not places:
                return []
            if len(places) < len(candidates):
                candidates = [candidates[place] for place in places]
                left, right, thresholds = left[places], right[places], thresholds[places]
        elif self._none_rose(left, thresholds, at):
            return []
        found = self._values(left, right, at, exact=False)
        holds = _COMPARE[self.comparison](found.values, thresholds)
        values = found.values
        if found.errors is not None:
            apart = np.abs(values - thresholds) > found.errors
            if self.comparison is Comparison.NAN:
                apart = np.isfinite(values)
            again = np.flatnonzero(found.valid & (holds | ~apart))
            if len(again):
                exact = self._values(left[again], right[again], at, exact=True)
                values[again] = exact.values
                holds[again] = _COMPARE[self.comparison](exact.values, thresholds[again])
        indices = np.flatnonzero(holds & found.valid)
        if len(indices):
            indices = indices[self._current(left[indices], at)]
        return [(candidates[i], value) for i, value in zip(indices, values[indices].tolist(), strict=True)]

    def _may_hold(self, candidates: list[Candidate], at: Moment) -> list[int]:
        """Places of those of which it is not certain that the condition does not hold."""
        lines = self._newest_lines(at)
        if lines is not None and lines == self._ruled_out:
            return []
        places = self._not_ruled_out(candidates, at)
        self._ruled_out = None if places else lines
        return places

    def _newest_lines(self, at: Moment) -> tuple[int, ...] | None:
        """Numbers of the newest lines, where the condition depends on their samples alone.

        On the time it depends then only in that they grow too old to count.
        """
        numbers = []
        for recipe, grid in ((self.left, self.left_grid), (self.right, self.right_grid)):
            if recipe is None or grid is None:
                continue
            is_newest = recipe.aggregate is Aggregate.LAST and not recipe.offset_ms
            if not is_newest or grid.line_at(at.time_ms) != grid.end - 1:
                return None
            numbers.append(grid.base + grid.end)
        return tuple(numbers)

    def _not_ruled_out(self, candidates: list[Candidate], at: Moment) -> list[int]:
        left, arithmetic = sieve.bounder(self.left, self.left_grid, at), self.arithmetic
        every = [left(each.left.row) for each in candidates]
        if self.right is not None and self.right_grid is not None and arithmetic is not None:
            right = sieve.bounder(self.right, self.right_grid, at)
            for place, each in enumerate(candidates):
                other = right(each.right.row) if each.right else None
                every[place] = sieve.combined(arithmetic, every[place], other)
        possible = sieve.POSSIBLE[self.comparison]
        return [
            place
            for place, bounds in enumerate(every)
            if bounds is None or possible(*bounds, candidates[place].threshold)
        ]

    def _none_rose(self, rows: Rows, thresholds: Floats, at: Moment) -> bool:
        """Whether no candidate's condition holds because no counter rose."""
        counted = self.left.aggregate in (Aggregate.RATE, Aggregate.INCREASE) and self.left.bounds is None
        if not counted or self.arithmetic is not None:
            return False
        if self._holds_of_zero is None:
            self._holds_of_zero = bool(_COMPARE[self.comparison](np.zeros(1), thresholds).any())
        return not self._holds_of_zero and sieve.none_rose(self.left, self.left_grid, rows, at)

    def decided(self, at: Moment) -> Collection[Candidate]:
        """Candidates that have a value now, of which the condition is true or false."""
        if self._decided is None or self._decided[0] != at:
            candidates, left, right, _ = self._arrange()
            there = self._values(left, right, at, exact=False).valid & self._current(left, at)
            self._decided = at, frozenset(candidates[index] for index in np.flatnonzero(there))
        return self._decided[1]

    def _current(self, rows: Rows, at: Moment) -> Mask:
        if self.memory_ms:
            return newest(Window(self.left_grid, at.time_ms - self.memory_ms, at.time_ms), rows).valid
        return latest(self.left_grid, rows, at.time_ms, at.lookback_ms).valid

    def _arrange(self) -> tuple[list[Candidate], Rows, Rows, Floats]:
        if self._arranged is None:
            candidates = list(self.candidates)
            self._arranged = (
                candidates,
                np.array([each.left.row for each in candidates], np.intp),
                np.array([each.right.row if each.right else 0 for each in candidates], np.intp),
                np.array([each.threshold for each in candidates], np.float64),
            )
        return self._arranged

    def _values(self, left: Rows, right: Rows, at: Moment, *, exact: bool) -> Values:
        ours = self.left.values(self.left_grid, left, at, exact=exact)
        if self.right is None or self.right_grid is None or self.arithmetic is None:
            return ours
        return combined(self.arithmetic, ours, self.right.values(self.right_grid, right, at, exact=exact))


def combined(arithmetic: Arithmetic, left: Values, right: Values) -> Values:
    """Two operands' values made one; division by zero gives an infinity or NaN, as in PromQL."""
    valid, a, b = left.valid & right.valid, left.values, right.values
    estimated = left.errors is not None or right.errors is not None
    zero = np.zeros(len(a))
    p = zero if left.errors is None else left.errors
    q = zero if right.errors is None else right.errors
    match arithmetic:
        case Arithmetic.PLUS:
            values, errors = a + b, p + q
        case Arithmetic.MINUS:
            values, errors = a - b, p + q
        case Arithmetic.TIMES:
            values, errors = a * b, np.abs(a) * q + np.abs(b) * p + p * q
        case Arithmetic.DIVIDED_BY:
            values = a / b
            room = np.abs(b) - q
            errors = np.where(room > 0, (p + np.abs(values) * q) / room, np.inf)
    # What rounding adds to an estimate is far below this.
    return Values(values, valid, errors * 1.01 + np.abs(values) * 1e-14 if estimated else None)
