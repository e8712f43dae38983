"""The gain of a candidate that a test at a look has let through: an interval that knows why it stopped there.

A verification ends when the pairs look good, so the pairs of a recommendation look better than they are: the
mean lies above the truth and the usual interval misses it too often, the more so the less a test of so few
pairs could have found. What is printed instead:

- the point is median unbiased: at the true gain, as many verifications end with stronger evidence as with
  weaker, an earlier look counting as stronger (Tsiatis, Rosner and Mehta, 1984, "Exact confidence intervals
  following a group sequential test"; Jennison and Turnbull, 2000, chapter 8);
- the lower end holds among verifications that ended with a pass at the same look, since only these are
  printed (Strickland and Casella, 2003, "Conditional inference following group sequential testing"). It goes
  no lower than no gain at all, which the test has ruled out with its own error;
- the upper end is the usual one: a pass makes a mean that is too low rarer.

The law is that of a sum of normal pairs, as for the levels (``group_sequential``). That the spread is known
from as few pairs is met by taking it larger in the proportion of Student's quantile to the normal one.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri

from flyball.tuners.base import Interval
from flyball.tuners.measurement.interval import CONFIDENCE, t_quantile
from flyball.tuners.measurement.series import Array
from flyball.tuners.verification.group_sequential import law_at_last_look
from flyball.tuners.verification.statistics import standard_error

FAR = 4.0
"""Standard errors beyond its boundary from which a pass tells nothing: nearly all its like would pass."""
LEAST_DRIFT, MOST_DRIFT = -8.0, 8.0
"""Standard errors from the observed mean within which a drift is looked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopped:
    """Where a test of growing data ended with a pass.

    Args:
        pairs: at each look made, increasing; the last is the one that passed.
        levels: one-sided, of this candidate at each of them.
    """

    pairs: tuple[int, ...]
    levels: tuple[float, ...]

    def boundary(self) -> float:
        """Return the sum of unit-variance pairs from which the last look passes."""
        return boundary(self.pairs[-1], self.levels[-1])

    def earlier(self, drift: float) -> float:
        """Return the chance to have passed at an earlier look, at a drift a pair in standard deviations."""
        return 1.0 - _mass(*self._law(), drift, self.pairs[-1], -math.inf)

    def beyond(self, total: float, drift: float) -> float:
        """Return the chance to reach the last look and a sum of at least ``total`` there."""
        return _mass(*self._law(), drift, self.pairs[-1], total)

    def beyond_if_passed(self, total: float, drift: float) -> float:
        """Return the same among those that pass at the last look."""
        sums, law = self._law()
        tilted = _log_tilted(sums, law, drift)
        top = tilted.max(initial=-math.inf, where=sums >= self.boundary())
        weights = np.exp(np.minimum(tilted - top, 0.0))
        passed = _area(sums, weights, self.boundary())
        return _area(sums, weights, max(total, self.boundary())) / passed if passed > 0 else 0.0

    def _law(self) -> tuple[Array, Array]:
        return _laws(self.pairs, self.levels)


def boundary(pairs: int, level: float) -> float:
    """Return the sum of ``pairs`` unit-variance pairs from which a test at a one-sided ``level`` passes."""
    return float(-ndtri(level)) * math.sqrt(pairs)


@lru_cache(maxsize=64)
def _laws(pairs: tuple[int, ...], levels: tuple[float, ...]) -> tuple[Array, Array]:
    bounds = [boundary(*look) for look in zip(pairs, levels, strict=True)]
    return law_at_last_look(pairs, bounds)


def _log_tilted(sums: Array, law: Array, drift: float) -> Array:
    """Return the logarithm of the law under a drift, up to a constant: it only tilts the law without one."""
    with np.errstate(divide="ignore"):
        return np.log(law) + drift * sums


def _mass(sums: Array, law: Array, drift: float, pairs: int, total: float) -> float:
    weights = np.exp(_log_tilted(sums, law, drift) - drift**2 * pairs / 2)
    return min(1.0, _area(sums, weights, total))


def _area(sums: Array, weights: Array, start: float) -> float:
    """Return the area under ``weights`` from ``start`` on, linear between the places."""
    width = sums[1] - sums[0]
    above = np.concatenate((np.cumsum(((weights[1:] + weights[:-1]) / 2 * width)[::-1])[::-1], [0.0]))
    return float(np.interp(start, sums, above))


def stopped_interval(
    log_ratios: Sequence[float],
    stopped: Stopped,
    *,
    least_error: float = 0.0,
    confidence: float = CONFIDENCE,
) -> Interval:
    """Return the gain of a candidate that passed, as a ratio.

    Args:
        log_ratios: of its pairs, all up to the look that passed; two at least.
        stopped: the looks up to that one.
        least_error: standard error of their mean as other runs tell it: pairs that pass early are often those
            that happen to agree with one another, and their own spread is too small then.
        confidence: two-sided.
    """
    pairs, mean = len(log_ratios), statistics.fmean(log_ratios)
    error = max(standard_error(log_ratios), least_error)
    tail = (1 - confidence) / 2
    reach = min(t_quantile(confidence, pairs - 1) * error, 50.0)
    widened = reach / float(-ndtri(tail))
    low, point = mean - reach, mean
    if error > 0 and mean / widened < stopped.boundary() / math.sqrt(pairs) + FAR:
        # That it did not pass earlier can speak for more than the mean: this is not handed on.
        low = max(0.0, min(low, widened * _lower_drift(stopped, mean / widened, tail)))
        point = max(low, min(mean, error * _median_drift(stopped, mean / error)))
    return Interval(point=math.exp(point), low=math.exp(low), high=math.exp(mean + reach))


def _lower_drift(stopped: Stopped, standardized: float, tail: float) -> float:
    """Return the drift, in standard errors, at which so much is reached by ``tail`` of those that pass."""
    root = math.sqrt(stopped.pairs[-1])
    total = max(standardized * root, stopped.boundary())
    return _solve(lambda drift: stopped.beyond_if_passed(total, drift / root) - tail, standardized)


def _median_drift(stopped: Stopped, standardized: float) -> float:
    """Return the drift, in standard errors, at which half of all verifications end with stronger evidence."""
    root = math.sqrt(stopped.pairs[-1])
    total = max(standardized * root, stopped.boundary())

    def stronger(drift: float) -> float:
        return stopped.earlier(drift / root) + stopped.beyond(total, drift / root) - 0.5

    return _solve(stronger, standardized)


def _solve(above: Callable[[float], float], standardized: float) -> float:
    """Return where an increasing function is zero, or the end of what is looked at."""
    low, high = standardized + LEAST_DRIFT, standardized + MOST_DRIFT
    if above(low) >= 0:
        return low
    if above(high) <= 0:
        return high
    return float(brentq(above, low, high, xtol=1e-4))
