"""What is made of gauges' samples within a window, sample by sample as Prometheus 2.42 does it.

The last digits depend on the order of operations, which is that of
https://github.com/prometheus/prometheus/blob/v2.42.0/promql/functions.go.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flyball.policies.sample_grid import Floats, Mask, Rows, SampleGrid, present
from flyball.policies.windows import Window

_FEW = 24
"""Rows from which on working line by line over all of them beats one row after another."""
_FEW_PLACES = 6
_SQUARES_VANISH = 1e-150
"""Of samples below this the squares are lost, and no error is larger."""
_EPSILON = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True)
class Values:
    """A value for each row."""

    values: Floats
    valid: Mask
    """Where there is one."""
    errors: Floats | None = None
    """By how much a value may be off, where it is only an estimate."""

    def filled(self, places: Rows, others: "Values") -> "Values":
        """These, with others of the same kind in some places."""
        values, valid = self.values.copy(), self.valid.copy()
        values[places], valid[places] = others.values, others.valid
        errors = None if self.errors is None else self.errors.copy()
        if errors is not None and others.errors is not None:
            errors[places] = others.errors
        return Values(values, valid, errors)


def latest(grid: SampleGrid, rows: Rows, time_ms: int, lookback_ms: int) -> Values:
    """The samples that hold at a time: of the newest reading, unless it is older than the lookback."""
    line = grid.line_at(time_ms)
    if line < 0 or int(grid.times[line]) < time_ms - lookback_ms:
        return Values(np.zeros(len(rows)), np.zeros(len(rows), np.bool_))
    values = grid.cells[line].take(rows)
    return Values(values, present(values))


def newest(window: Window, rows: Rows) -> Values:
    """``last_over_time``: the newest samples of a window."""
    if not window.lines:
        return Values(np.zeros(len(rows)), np.zeros(len(rows), np.bool_))
    ends = window.ends(rows)
    return Values(ends.last_values.copy(), ends.count > 0)


def extreme(window: Window, rows: Rows, *, largest: bool) -> Values:
    """``max_over_time`` or ``min_over_time``: NaN only where all samples are."""
    if not window.lines:
        return Values(np.zeros(len(rows)), np.zeros(len(rows), np.bool_))
    samples = window.samples(rows)
    values = np.asarray((np.fmax if largest else np.fmin).reduce(samples, axis=0), np.float64)
    # Of zero and minus zero, which are equal and are written otherwise, the first counts.
    zero = np.flatnonzero(values == 0)
    values[zero] = samples[(samples[:, zero] == 0).argmax(axis=0), zero]
    return Values(values, window.ends(rows).count > 0)


def estimated_mean(window: Window, rows: Rows) -> Values:
    """``avg_over_time`` to within ``errors``, at a fraction of its cost.

    Both this and Prometheus' are off by less than 64 n eps of the mean absolute value, and the root mean
    square is never below that. Where samples are not finite the error is not either.
    """
    samples = window.samples(rows)
    counts = np.full(len(rows), window.lines, np.int64)
    partly = window.incomplete(rows)
    if len(partly):
        part = samples[:, partly]
        there = present(part)
        counts[partly] = np.count_nonzero(there, axis=0)
        samples[:, partly] = np.where(there, part, 0.0)
    divisor = np.maximum(counts, 1)
    squares = np.einsum("ij,ij->j", samples, samples)
    errors = 64 * divisor * _EPSILON * np.sqrt(squares / divisor) + _SQUARES_VANISH
    return Values(samples.sum(axis=0) / divisor, counts > 0, errors)


def mean_error(count: int, squares: float) -> float:
    """What :func:`estimated_mean` says of one series without gaps, by the sum of its squares."""
    return 64 * count * _EPSILON * math.sqrt(squares / count) + _SQUARES_VANISH


def exact_mean(window: Window, rows: Rows) -> Values:
    """``avg_over_time`` to the last digit."""
    samples = window.samples(rows)
    there = present(samples)
    valid: Mask = np.any(there, axis=0)
    plain: Mask = np.all(np.isfinite(samples) | ~there, axis=0)
    if len(rows) < _FEW:
        plain[:] = False
    values = np.zeros(len(rows))
    if plain.any():
        values[plain] = _means(samples[:, plain], there[:, plain])
    for index in np.flatnonzero(~plain & valid):
        values[index] = mean(samples[there[:, index], index].tolist())
    return Values(values, valid)


def _means(samples: Floats, there: Mask) -> Floats:
    total = np.zeros(samples.shape[1])
    lost, count = total.copy(), total.copy()
    for line, given in zip(samples, there, strict=True):
        count += given
        step = line / count - total / count
        after = total + step
        correction = np.where(np.abs(total) >= np.abs(step), (total - after) + step, (step - after) + total)
        lost = np.where(given, lost + correction, lost)
        total = np.where(given, after, total)
    return total + lost


def mean(samples: Sequence[float]) -> float:
    """Running, with Neumaier's compensation; an infinite one stays unless NaN or the opposite comes."""
    total = lost = 0.0
    for count, sample in enumerate(samples, 1):
        if math.isinf(total) and not math.isnan(sample) and (not math.isinf(sample) or sample == total):
            continue
        step = sample / count - total / count
        after = total + step
        lost += (total - after) + step if abs(total) >= abs(step) else (step - after) + total
        total = after
    return total if math.isinf(total) else total + lost


def quantiles(window: Window, rows: Rows, fraction: float) -> Values:
    """``quantile_over_time``: linear between the two nearest of the sorted samples; NaN sorts first."""
    if not window.lines:
        return Values(np.zeros(len(rows)), np.zeros(len(rows), np.bool_))
    samples = np.ascontiguousarray(window.samples(rows).T)
    counts = np.full(len(rows), window.lines, np.int64)
    partly = window.incomplete(rows)
    counts[partly] = np.count_nonzero(present(samples[partly]), axis=1)
    # Absent samples are NaN and so are sorted to the end; real ones belong at the front.
    odd = np.count_nonzero(np.isnan(samples), axis=1) != window.lines - counts
    columns = {int(index): samples[index][present(samples[index])].tolist() for index in np.flatnonzero(odd)}
    last = np.maximum(counts - 1, 0)
    rank = fraction * last
    lower = np.floor(rank).astype(np.int64)
    upper = np.minimum(last, lower + 1)
    places = sorted({*lower.tolist(), *upper.tolist()})
    if len(places) <= _FEW_PLACES:
        samples.partition(places, axis=1)
    else:
        samples.sort(axis=1)
    every, weight = np.arange(len(rows)), rank - lower
    values = samples[every, lower] * (1 - weight) + samples[every, upper] * weight
    for index, column in columns.items():
        values[index] = quantile(column, fraction)
    return Values(values, counts > 0)


def quantile(samples: Sequence[float], fraction: float) -> float:
    """Of one series."""
    ordered = sorted(samples, key=lambda each: (not math.isnan(each), each))
    rank = fraction * (len(ordered) - 1)
    lower = math.floor(rank)
    upper, weight = min(len(ordered) - 1, lower + 1), rank - lower
    return ordered[lower] * (1 - weight) + ordered[upper] * weight
