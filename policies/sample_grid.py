"""The samples of one source: a line for each of its readings, a cell in it for each series.

All series of a reading share its time, so a window is a run of lines, and what is made of it is worked out
for many series at once. A histogram takes a row for each bucket, cumulative, and one for its sum. Times are
whole milliseconds, as Prometheus keeps them.
"""

import math
import operator
from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.intp]

ABSENT_BITS = 0x7FF8_0000_F1B0_A11B
"""A NaN that no computation yields: the series was not given in that reading."""
SLACK_MS = 10_000
"""How far an evaluation may lie behind the newest reading."""


_FEW = 32
"""Values up to which a list is quicker than an array."""


@dataclass(slots=True, eq=False)
class _Layout:
    """How readings are laid out: kept, as nearly every one gives the same series in the same order."""

    rows: list[int]
    given: slice | Rows
    """The same, for indexing."""
    absent: Rows
    """Rows that such a reading does not give."""
    newest: list[float]
    """Of few rows, their last samples."""
    has_nan: bool = False
    """Whether one of those is NaN, which equals nothing."""


def present(cells: Floats) -> Mask:
    """Where there is a sample; one that is NaN counts."""
    there: Mask = cells.view(np.int64) != ABSENT_BITS
    return there


class SampleGrid:
    """What one source gave within ``retention_ms``, of series that are all needed that long."""

    def __init__(self, retention_ms: int) -> None:
        self.retention_ms = retention_ms
        self.times: Numbers = np.empty(0, np.int64)
        self._moments = self.times.data
        """The same, for looking one up: numpy's own search costs several times more in so few."""
        self.cells: Floats = np.empty((0, 0))
        self.end = 0
        """Lines in use."""
        self.begun_ms: int | None = None
        """When the first line came, however long ago."""
        self.base = 0
        """Number of the first line since the beginning; lines are numbered on as old ones go."""
        self.gap: Numbers = np.empty(0, np.int64)
        """By row: number of the last line in which it was absent."""
        self.reset: Numbers = np.empty(0, np.int64)
        """By row: number of the last line in which it was below the sample before."""
        self.seen: Numbers = np.empty(0, np.int64)
        """By row: number of the last line that has a sample of it."""
        self.still_from = 0
        """Number of the first of the newest lines that are all alike, and without NaN."""
        self._latest: Floats = np.empty(0)
        self._used = 0
        self._free: dict[int, list[int]] = {}
        self._layout: _Layout | None = None
        """Of the last reading."""
        self._is_noted = True
        """Whether ``seen`` and ``_latest`` know of the last readings."""

    def allocate(self, width: int) -> int:
        """The first of ``width`` rows in a row, all absent so far."""
        self._note()
        free = self._free.get(width)
        if free:
            row = free.pop()
        else:
            row, self._used = self._used, self._used + width
            if self._used > len(self.gap):
                self._widen(max(self._used, len(self.gap) * 5 // 4 + 16))
        self._layout = None
        rows = slice(row, row + width)
        self.cells.view(np.int64)[: self.end, rows] = ABSENT_BITS
        self.gap[rows] = self.base + self.end - 1
        self.reset[rows] = self.seen[rows] = -1
        self._latest[rows] = np.nan
        return row

    def release(self, row: int, width: int) -> None:
        """The rows may be used for another series."""
        self._note()
        self._layout = None
        self.seen[row : row + width] = -1
        self._free.setdefault(width, []).append(row)

    def append(self, time_ms: int, rows: list[int], values: list[float]) -> None:
        """One more reading; the time must be later than the last one's. Rows not named are absent."""
        if self.end == len(self.times):
            self._make_room()
        number, line = self.base + self.end, self.cells[self.end]
        self.times[self.end] = time_ms
        self.end += 1
        self.begun_ms = time_ms if self.begun_ms is None else self.begun_ms
        layout = self._layout
        if layout is None or layout.rows != rows:
            self._note(lines=1)
            layout = self._layout = self._laid_out(rows)
            self.still_from = number
        if len(rows) <= _FEW:
            self._take_few(layout, values, number)
            line[layout.given] = values  # not what equals them: zero and minus zero are written otherwise
        else:
            line[layout.given] = self._take_many(layout, np.array(values, np.float64), number)
        self._is_noted = False
        if len(layout.absent):
            line.view(np.int64)[layout.absent] = ABSENT_BITS
            self.gap[layout.absent] = number

    def _take_few(self, layout: _Layout, values: list[float], number: int) -> None:
        if values == layout.newest:
            if layout.has_nan:
                self.still_from = number
            return
        if any(map(operator.lt, values, layout.newest)):
            fallen = map(operator.lt, values, layout.newest)
            self.reset[[row for row, fell in zip(layout.rows, fallen, strict=True) if fell]] = number
        layout.newest, layout.has_nan = values.copy(), math.isnan(sum(values))
        self.still_from = number

    def _take_many(self, layout: _Layout, fresh: Floats, number: int) -> Floats:
        before = self._latest[layout.given]
        fallen = np.flatnonzero(fresh < before)
        if len(fallen):
            self.reset[np.array(layout.rows)[fallen]] = number
        if not np.array_equal(fresh, before):
            self.still_from = number
        self._latest[layout.given] = fresh
        return fresh

    def _note(self, lines: int = 0) -> None:
        """Write down what the last readings gave; ``lines`` have come since, laid out otherwise."""
        if self._layout is None or self._is_noted:
            return
        self._is_noted = True
        self.seen[self._layout.given] = self.base + self.end - 1 - lines
        if len(self._layout.rows) <= _FEW:
            self._latest[self._layout.given] = self._layout.newest

    def _laid_out(self, rows: list[int]) -> _Layout:
        absent = np.ones(self._used, np.bool_)
        absent[rows] = False
        begin = rows[0] if rows else 0
        in_order = rows == list(range(begin, begin + len(rows)))
        given = slice(begin, begin + len(rows)) if in_order else np.array(rows, np.intp)
        newest = self._latest[given].tolist() if len(rows) <= _FEW else []
        return _Layout(list(rows), given, np.flatnonzero(absent), newest)

    def line_at(self, time_ms: int) -> int:
        """Index of the newest line not after this time, or -1."""
        if self.end and self.times.item(self.end - 1) <= time_ms:
            return self.end - 1  # as nearly always
        return bisect_right(self._moments, time_ms, 0, self.end) - 1

    def lines_between(self, start_ms: int, end_ms: int) -> tuple[int, int]:
        """First index and the one after the last, of lines within the closed interval."""
        first = bisect_left(self._moments, start_ms, 0, self.end)
        return first, max(first, self.line_at(end_ms) + 1)

    def is_current(self, row: int) -> bool:
        """Whether the newest reading has a sample of it."""
        self._note()
        return self.end > 0 and bool(self.seen[row] == self.base + self.end - 1)

    def has(self, row: int, line: int) -> bool:
        """Whether there is a sample in a line, by index."""
        return bool(self.cells.view(np.int64)[line, row] != ABSENT_BITS)

    def is_spent(self, row: int, time_ms: int, lookback_ms: int) -> bool:
        """Whether a row holds nothing that an evaluation at this time or later could need."""
        self._note()
        index = int(self.seen[row]) - self.base
        if index < 0:
            return True
        # A selector without a window sees the last sample until the reading that lacks it.
        holds_ms = int(self.times[index]) + lookback_ms
        if not self.is_current(row):
            holds_ms = min(holds_ms, int(self.times[index + 1]))
        return holds_ms < time_ms - self.retention_ms - SLACK_MS

    def begin_from(self, other: "SampleGrid") -> None:
        """Take over the lines of another grid of the same source, as far back as is needed here."""
        first = self._first_needed(other)
        self.begun_ms = other.begun_ms
        self.times, self.end = other.times[first : other.end].copy(), other.end - first
        self._moments = self.times.data
        self.cells, self.still_from = np.empty((self.end, 0)), self.end

    def copy_row(self, row: int, other: "SampleGrid", other_row: int) -> None:
        """Take over a series' samples; the newest line of both is the same reading."""
        lines = min(self.end, other.end)
        if not lines:
            return
        self.cells[self.end - lines : self.end, row] = other.cells[other.end - lines : other.end, other_row]
        column = self.cells[: self.end, row].copy()
        there = np.flatnonzero(present(column))
        gaps = np.flatnonzero(~present(column))
        self.gap[row] = self.base + (int(gaps[-1]) if len(gaps) else -1)
        if len(there):
            self.seen[row], self._latest[row] = self.base + there[-1], column[there[-1]]
            fallen = there[1:][column[there][1:] < column[there][:-1]]
            self.reset[row] = self.base + int(fallen[-1]) if len(fallen) else -1

    def _first_needed(self, other: "SampleGrid") -> int:
        # An instant selector looks for the newest line that is not after its time: one more than the window.
        if not other.end:
            return 0
        oldest = int(other.times[other.end - 1]) - self.retention_ms - SLACK_MS
        return max(other.line_at(oldest), 0)

    def _make_room(self) -> None:
        first = self._first_needed(self)
        live = self.end - first
        if first and live * 4 <= self.end * 3 and self.end <= max(live * 4, 64):
            self.times[:live] = self.times[first : self.end].copy()
            self.cells[:live] = self.cells[first : self.end]
        else:
            lines = live + live // 2 + 8
            times, cells = np.empty(lines, np.int64), np.empty((lines, len(self.gap)))
            times[:live], cells[:live] = self.times[first : self.end], self.cells[first : self.end]
            self.times, self.cells, self._moments = times, cells, times.data
        self.base, self.end = self.base + first, live

    def _widen(self, rows: int) -> None:
        cells = np.empty((len(self.times), rows))
        cells.view(np.int64)[:] = ABSENT_BITS
        cells[: self.end, : len(self.gap)] = self.cells[: self.end]
        more = rows - len(self.gap)
        self.cells = cells
        self.gap = np.concatenate((self.gap, np.full(more, -1, np.int64)))
        self.reset = np.concatenate((self.reset, np.full(more, -1, np.int64)))
        self.seen = np.concatenate((self.seen, np.full(more, -1, np.int64)))
        self._latest = np.concatenate((self._latest, np.full(more, np.nan)))
