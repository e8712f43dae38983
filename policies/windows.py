"""A window into a grid: the lines from one time to another, both included (as in Prometheus before 3)."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from flyball.policies.sample_grid import Floats, Mask, Numbers, Rows, SampleGrid, present


def milliseconds(seconds: float) -> int:
    """To the nearest."""
    return round(seconds * 1000)


@dataclass(frozen=True, slots=True)
class Moment:
    """When the rules are evaluated."""

    time_ms: int
    lookback_ms: int
    """For how long a sample holds where its source is not read any more."""


class Window:
    """The lines of ``grid`` from ``start_ms`` to ``end_ms``."""

    def __init__(self, grid: SampleGrid, start_ms: int, end_ms: int) -> None:
        self.grid, self.start_ms, self.end_ms = grid, start_ms, end_ms
        self.first, self.stop = grid.lines_between(start_ms, end_ms)

    @property
    def lines(self) -> int:
        """How many readings it spans."""
        return self.stop - self.first

    @property
    def is_still(self) -> bool:
        """Whether all its readings are alike: each row has one value in all of them, or none."""
        return self.grid.still_from <= self.grid.base + self.first and self.lines > 0

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ms - self.start_ms) / 1000

    def incomplete(self, rows: Rows) -> Rows:
        """Places of the rows that lack a sample in some line."""
        return np.flatnonzero(self.grid.gap[rows] >= self.grid.base + self.first)

    def samples(self, rows: Rows) -> Floats:
        """Cells by line and row; absent ones among them."""
        cells: Floats = self.grid.cells[self.first : self.stop].take(rows, axis=1)
        return cells

    def column(self, row: int) -> list[float]:
        """The samples of one row, without the absent ones."""
        cells = self.grid.cells[self.first : self.stop, row].copy()
        column: list[float] = cells[present(cells)].tolist()
        return column

    def ends(self, rows: Rows) -> "Ends":
        """The first and the last sample of each row; of a row that has none, of any line."""
        first = np.zeros(len(rows), np.int64)
        last, count = first + (self.lines - 1), first + self.lines
        partly = self.incomplete(rows)
        if len(partly):
            there = present(self.samples(rows[partly]))
            first[partly] = there.argmax(axis=0)
            last[partly] -= there[::-1].argmax(axis=0)
            count[partly] = np.count_nonzero(there, axis=0)
        return Ends(self, rows, first, last, count)


@dataclass(frozen=True)
class Ends:
    """Where each row's samples in a window begin and end; indices count from the window's first line."""

    window: Window
    rows: Rows
    first: Numbers
    last: Numbers
    count: Numbers

    @cached_property
    def first_times(self) -> Numbers:
        """Milliseconds."""
        return self.window.grid.times[self.window.first + self.first]

    @cached_property
    def last_times(self) -> Numbers:
        """Milliseconds."""
        return self.window.grid.times[self.window.first + self.last]

    @cached_property
    def first_values(self) -> Floats:
        """The oldest samples."""
        return self.window.grid.cells[self.window.first + self.first, self.rows]

    @cached_property
    def last_values(self) -> Floats:
        """The newest samples."""
        return self.window.grid.cells[self.window.first + self.last, self.rows]

    @cached_property
    def fell(self) -> Mask:
        """Rows that may have fallen after their first sample; all others have certainly not."""
        grid = self.window.grid
        return (grid.reset[self.rows] > grid.base + self.window.first + self.first) & (self.count > 1)
