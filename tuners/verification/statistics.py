"""Small-sample statistics of paired runs: exact tests, multiplicity, intervals, the noise floor.

Everything works on log ratios, log(candidate rate / baseline rate): gains are ratios, and what disturbs both
runs of a round alike (a slow neighbour, a warm chassis) cancels.
"""

import bisect
import math
import statistics
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from flyball.tuners.base import Interval
from flyball.tuners.measurement.interval import CONFIDENCE, t_quantile


@lru_cache(maxsize=1024)
def _tail_shares(doubled_ranks: tuple[int, ...]) -> tuple[float, ...]:
    """Return, for each value of the doubled rank sum, which share of the 2^n sign patterns reaches it.

    Halved at each rank: sums of powers of two, exact in floating point up to some 50 ranks, and to 1e-15
    beyond.
    """
    shares = np.zeros(sum(doubled_ranks) + 1)
    shares[0] = 1.0
    for rank in doubled_ranks:
        shifted = np.zeros_like(shares)
        shifted[rank:] = shares[: len(shares) - rank]
        shares = (shares + shifted) / 2
    return tuple(np.cumsum(shares[::-1])[::-1].tolist())


def signed_rank_p_value(differences: Sequence[float]) -> float:
    """Return the exact one-sided p-value of Wilcoxon's signed-rank test against "not greater than zero".

    The permutation distribution is enumerated for the ranks at hand, so ties are exact too. A difference of
    zero keeps its rank and counts against the gain, which can only make the test more careful.
    """
    if not differences:
        return 1.0
    doubled = doubled_ranks([abs(value) for value in differences])
    reached = sum(rank for rank, value in zip(doubled, differences, strict=True) if value > 0)
    return _tail_shares(tuple(sorted(doubled)))[reached]


def rank_sum_p_value(larger: Sequence[float], smaller: Sequence[float]) -> float:
    """Return the exact one-sided p-value of Wilcoxon's rank-sum test that ``larger`` is not the larger.

    For runs that are no pairs, such as those of different days. Ties share their ranks, and the distribution
    is enumerated for the ranks at hand.
    """
    if not larger or not smaller:
        return 1.0
    ranks = doubled_ranks([*larger, *smaller])
    reached = sum(ranks[: len(larger)])
    counts = _subset_counts(tuple(sorted(ranks)), len(larger))
    return sum(count for total, count in counts.items() if total >= reached) / math.comb(
        len(ranks), len(larger)
    )


@lru_cache(maxsize=256)
def _subset_counts(ranks: tuple[int, ...], size: int) -> Mapping[int, int]:
    """Return, for each rank sum of a subset of this size, how many subsets have it."""
    by_size: list[dict[int, int]] = [{0: 1}, *({} for _ in range(size))]
    for rank in ranks:
        for chosen in range(size, 0, -1):
            for total, count in by_size[chosen - 1].items():
                by_size[chosen][total + rank] = by_size[chosen].get(total + rank, 0) + count
    return by_size[size]


@lru_cache(maxsize=64)
def attainable_rank_sum_level(larger: int, smaller: int, level: float) -> float:
    """Return the largest rank-sum p-value not above ``level`` of groups of these sizes, or 0."""
    total = larger + smaller
    counts = _subset_counts(tuple(range(2, 2 * total + 1, 2)), larger)
    reached, best, subsets = 0, 0.0, math.comb(total, larger)
    for rank_sum in sorted(counts, reverse=True):
        reached += counts[rank_sum]
        if reached / subsets > level:
            break
        best = reached / subsets
    return best


def group_difference(larger: Sequence[float], smaller: Sequence[float]) -> tuple[float, float, int]:
    """Return the difference of two groups' means, its standard error and its degrees of freedom.

    The spread between the values of a group is taken as the same in both: of three runs alone it would not
    be known. Needs three values or more in all, at least one in each group.
    """
    freedom = len(larger) + len(smaller) - 2
    squares = math.fsum(
        (value - mean) ** 2
        for group in (larger, smaller)
        for mean in [statistics.fmean(group)]
        for value in group
    )
    error = math.sqrt(squares / freedom * (1 / len(larger) + 1 / len(smaller)))
    return statistics.fmean(larger) - statistics.fmean(smaller), error, freedom


def next_value_interval(
    values: Sequence[float], confidence: float = CONFIDENCE
) -> tuple[float, float] | None:
    """Return where the next of some alike values lies with this confidence; None below two values."""
    if len(values) < 2:
        return None
    spread = standard_error(values) * math.sqrt(len(values) + 1)
    reach = min(t_quantile(confidence, len(values) - 1) * spread, 50.0)
    return statistics.fmean(values) - reach, statistics.fmean(values) + reach


def doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the rank of each value, from 2 on; equal values share the mean of their ranks."""
    ordered = sorted(values)
    return [bisect.bisect_left(ordered, value) + bisect.bisect_right(ordered, value) + 1 for value in values]


@lru_cache(maxsize=256)
def attainable_level(pairs: int, level: float) -> float:
    """Return the largest p-value not above ``level`` that ``pairs`` pairs without ties can have, or 0."""
    tails = _tail_shares(tuple(range(2, 2 * pairs + 1, 2)))
    return max((tail for tail in tails if tail <= level), default=0.0)


def best_case_p_value(differences: Sequence[float], pairs: int) -> float:
    """Return the least p-value that ``differences`` can still come to when ``pairs`` have been made.

    The best that can happen is that every pair to come is positive and larger than all that have been seen.
    """
    if len(differences) >= pairs:
        return signed_rank_p_value(differences)
    largest = max((abs(value) for value in differences), default=1.0) or 1.0
    to_come = [largest * (2 + index) for index in range(pairs - len(differences))]
    return signed_rank_p_value([*differences, *to_come])


def holm(p_values: Mapping[str, float], level: float) -> set[str]:
    """Return the hypotheses that Holm's step-down procedure rejects at a family-wise ``level``.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    rejected: set[str] = set()
    for passed, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        if p_values[key] > level / (len(p_values) - passed):
            break
        rejected.add(key)
    return rejected


def log_ratio(numerator: float, denominator: float) -> float:
    """Return log(numerator / denominator) of two rates above zero."""
    return math.log(numerator / denominator)


def ratio_interval(log_ratios: Sequence[float], confidence: float = CONFIDENCE) -> Interval:
    """Return the mean ratio with its two-sided interval, by Student's t on the logarithms.

    A bootstrap of six to ten pairs covers too rarely (its resamples cannot spread wider than the pairs do);
    Student's quantile is what keeps the printed interval honest there.
    """
    point = statistics.fmean(log_ratios)
    if len(log_ratios) < 2:
        return Interval(point=math.exp(point), low=0.0, high=math.inf)
    error = standard_error(log_ratios)
    spread = min(t_quantile(confidence, len(log_ratios) - 1) * error, 50.0)
    return Interval(point=math.exp(point), low=math.exp(point - spread), high=math.exp(point + spread))


def upper_mean(values: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """Return the one-sided upper confidence bound of a mean, infinite below two values."""
    if len(values) < 2:
        return math.inf
    quantile = t_quantile(2 * confidence - 1, len(values) - 1)
    return statistics.fmean(values) + quantile * standard_error(values)


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of two values or more."""
    mean = statistics.fmean(values)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - 1) / len(values))


def noise_floor(log_ratios: Sequence[float], pairs: int) -> float | None:
    """Return the gain that two runs of one and the same configuration show on average over ``pairs`` pairs.

    It is the root mean square of the A/A log ratios, whose true mean is zero, over the square root of the
    number of pairs: the standard error of a null result. None without any A/A pair: it was not measured.
    """
    if not log_ratios or pairs < 1:
        return None
    mean_square = statistics.fmean(value**2 for value in log_ratios)
    return math.expm1(math.sqrt(mean_square / pairs))
