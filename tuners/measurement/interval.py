"""The interval of a rate from one run whose steps depend on each other."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import special

from flyball.tuners.base import Interval
from flyball.tuners.measurement.series import Array

FEWEST_STEPS = 6
"""Below this an interval says nothing."""
BATCHES = 10
"""Batches into which a long run is cut: many enough for t, long enough to be nearly independent."""
CONFIDENCE = 0.95


@lru_cache(maxsize=256)
def t_quantile(confidence: float, freedom: int) -> float:
    """Return Student's two-sided quantile for a confidence."""
    return float(special.stdtrit(freedom, 0.5 + confidence / 2))


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A rate with the standard error of its logarithm."""

    point: float
    log_error: float
    freedom: int

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Return the two-sided interval; its bounds are positive and lie as ratios about the point."""
        spread = min(t_quantile(confidence, self.freedom) * self.log_error, 50.0)
        return Interval(
            point=self.point, low=self.point / math.exp(spread), high=self.point * math.exp(spread)
        )

    def relative_half_width(self, confidence: float = CONFIDENCE) -> float:
        """Return half the interval's width over the point."""
        interval = self.interval(confidence)
        return (interval.high - interval.low) / (2 * self.point)


def batches(values: Array, number: int) -> Array:
    """Return the sums of ``number`` successive batches of nearly equal length."""
    edges = np.linspace(0, len(values), number + 1).astype(int)
    return np.add.reduceat(values, edges[:-1])


def rate(amount: Array, seconds: Array) -> Rate | None:
    """Return ``amount`` over ``seconds``, or None below ``FEWEST_STEPS`` steps or without any amount.

    The error comes from non-overlapping batch means, in the ratio form (each batch's surplus over the common
    rate), widened by what the batches' own lag-one correlation shows where it is positive.
    """
    total_amount, total_seconds = float(amount.sum()), float(seconds.sum())
    if len(amount) < FEWEST_STEPS or total_amount <= 0 or total_seconds <= 0:
        return None
    number = min(BATCHES, max(FEWEST_STEPS, len(amount) // 2))
    point = total_amount / total_seconds
    surplus = batches(amount, number) - point * batches(seconds, number)
    variance = float(np.sum(surplus**2)) * number / (number - 1)
    error = math.sqrt(variance * widening(surplus)) / total_amount
    return Rate(point=point, log_error=error, freedom=number - 1)


def widening(surplus: Array) -> float:
    """Return by how much lag-one correlation widens the variance of a mean, at least 1."""
    power = float(np.sum(surplus**2))
    if power <= 0:
        return 1.0
    lag_one = float(np.sum(surplus[1:] * surplus[:-1])) / power + 1 / len(surplus)
    bounded = min(0.6, max(0.0, lag_one))
    return (1 + bounded) / (1 - bounded)
