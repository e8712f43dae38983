"""``rate`` and ``increase`` of counters, and what histograms make of them, as Prometheus 2.42 works them out.

The increase between the first and the last sample is stretched to the window's ends, but by no more than half
of the samples' distance where they are far, and not to before the counter was zero.
https://github.com/prometheus/prometheus/blob/v2.42.0/promql/functions.go (extrapolatedRate), quantile.go
"""

from itertools import pairwise

import numpy as np

from flyball.policies.aggregates import Values
from flyball.policies.sample_grid import Floats, Rows
from flyball.policies.windows import Ends, Window


def increases(window: Window, rows: Rows, *, per_second: bool) -> Values:
    """By how much each counter rose within the window, resets counted in; valid from two samples on."""
    if window.lines < 2:
        return Values(np.zeros(len(rows)), np.zeros(len(rows), np.bool_))
    ends = window.ends(rows)
    risen = ends.last_values - ends.first_values
    for index in np.flatnonzero(ends.fell):
        risen[index] = _with_resets(window.column(int(rows[index])))
    factor = _stretched(ends, risen)
    return Values(risen * (factor / window.seconds if per_second else factor), ends.count > 1)


def _with_resets(samples: list[float]) -> float:
    risen = samples[-1] - samples[0]
    for before, after in pairwise(samples):
        if after < before:
            risen += before
    return risen


def _stretched(ends: Ends, risen: Floats) -> Floats:
    window = ends.window
    to_start = (ends.first_times - window.start_ms) / 1000
    to_end = (window.end_ms - ends.last_times) / 1000
    sampled = (ends.last_times - ends.first_times) / 1000
    between = sampled / (ends.count - 1)
    to_zero = sampled * (ends.first_values / risen)
    begins_later = (risen > 0) & (ends.first_values >= 0) & (to_zero < to_start)
    to_start = np.where(begins_later, to_zero, to_start)
    near = between * 1.1
    stretched = sampled + np.where(to_start < near, to_start, between / 2)
    stretched = stretched + np.where(to_end < near, to_end, between / 2)
    return np.asarray(stretched / sampled, np.float64)


def histogram_means(window: Window, counts: Rows, sums: Rows) -> Values:
    """The mean of what was observed within the window; NaN where nothing was."""
    total = increases(window, sums, per_second=True)
    number = increases(window, counts, per_second=True)
    return Values(total.values / number.values, number.valid)


def histogram_quantiles(
    window: Window, first_buckets: Rows, bounds: tuple[float, ...], fraction: float
) -> Values:
    """``histogram_quantile`` of the rates of cumulative buckets, of which the last is above all bounds."""
    width = len(bounds) + 1
    rows = (first_buckets[:, None] + np.arange(width)).ravel()
    rates = increases(window, rows, per_second=True)
    buckets = rates.values.reshape(len(first_buckets), width)
    return Values(bucket_quantiles(buckets, bounds, fraction), rates.valid.reshape(buckets.shape)[:, 0])


def bucket_quantiles(buckets: Floats, bounds: tuple[float, ...], fraction: float) -> Floats:
    """Linear within the bucket where the quantile falls; the highest bound where that is the last bucket.

    The first bucket begins at 0 unless its bound is not above 0. NaN where nothing was observed.
    """
    every = np.arange(len(buckets))
    if not bounds:
        return np.full(len(buckets), np.nan)
    rising = np.maximum.accumulate(buckets, axis=1)
    observed = rising[:, -1]
    rank = fraction * observed
    reached = rising[:, :-1] >= rank[:, None]
    at = np.where(reached.any(axis=1), reached.argmax(axis=1), len(bounds))
    upper = np.array(bounds)
    inside = np.minimum(at, len(bounds) - 1)
    begins = np.where(inside > 0, upper[inside - 1], 0.0)
    below = np.where(inside > 0, rising[every, inside - 1], 0.0)
    share = (rank - below) / (rising[every, inside] - below)
    values = begins + (upper[inside] - begins) * share
    values = np.where((at == 0) & (upper[0] <= 0), upper[0], values)
    values = np.where(at == len(bounds), upper[-1], values)
    return np.where(observed == 0, np.nan, values)
