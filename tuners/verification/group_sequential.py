"""Levels of tests that look at growing data, so that all of them together keep to their error.

Looks at the same pairs agree with one another, so summing up their levels (the union bound) gives too much
away. A signed-rank statistic has, as any sum over pairs, nearly independent increments; that joint law is
followed numerically from look to look (Armitage, McPherson and Rowe, 1969; Lan and DeMets, 1983).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from scipy.stats import norm

from flyball.tuners.measurement.series import Array
from flyball.tuners.verification.statistics import standard_error

GRID = 1201
REACH = 7.0
"""In standard deviations of the whole sum: where the numerical law ends."""


@lru_cache(maxsize=64)
def nominal_levels(pairs: tuple[int, ...], spent: tuple[float, ...]) -> tuple[float, ...]:
    """Return the one-sided level of each look.

    Args:
        pairs: number of pairs at each look, increasing.
        spent: chance of having rejected by each look when nothing is there, increasing; the first is also the
            first look's level.
    """
    sums = _sums(pairs[-1])
    width = sums[1] - sums[0]
    levels = [spent[0]]
    law = norm.pdf(sums, scale=math.sqrt(pairs[0]))
    law[sums >= norm.isf(spent[0]) * math.sqrt(pairs[0])] = 0.0
    for before, now, used, may in zip(pairs, pairs[1:], spent, spent[1:], strict=False):
        law = _after(sums, law, now - before)
        above = np.cumsum(law[::-1])[::-1] * width
        # The first place at which no more than the new share lies above.
        place = int(np.searchsorted(-above, -(may - used)))
        place = min(place, GRID - 1)
        levels.append(float(norm.sf(sums[place] / math.sqrt(now))))
        law[place:] = 0.0
    return tuple(levels)


def law_at_last_look(pairs: Sequence[int], boundaries: Sequence[float]) -> tuple[Array, Array]:
    """Return places and density of the sum at the last look, of those that passed at no earlier one.

    Args:
        pairs: number of pairs at each look, increasing; they have unit variance and mean zero.
        boundaries: sum from which each look passes.
    """
    sums = _sums(pairs[-1])
    law = norm.pdf(sums, scale=math.sqrt(pairs[0]))
    for before, now, boundary in zip(pairs, pairs[1:], boundaries, strict=False):
        law[sums >= boundary] = 0.0
        law = _after(sums, law, now - before)
    return sums, law


def _sums(pairs: int) -> Array:
    edge = REACH * math.sqrt(pairs)
    return np.linspace(-edge, edge, GRID)


def _after(sums: Array, law: Array, pairs: int) -> Array:
    """Return the law of a sum after so many more pairs."""
    step = norm.pdf(sums[:, None] - sums[None, :], scale=math.sqrt(pairs)) * (sums[1] - sums[0])
    after: Array = step @ law
    return after


def chance_to_pass(log_ratios: Sequence[float], pairs: int, level: float, *, optimism: float) -> float:
    """Return the chance that a candidate passes a last look, as far as its pairs so far tell.

    The pairs to come are taken to have the spread of those seen, and their mean plus ``optimism`` standard
    errors of it.

    Args:
        log_ratios: of the pairs so far, two or more.
        pairs: at the last look.
        level: of the last look.
        optimism: in standard errors.
    """
    made, to_come = len(log_ratios), pairs - len(log_ratios)
    error = standard_error(log_ratios)
    spread = error * math.sqrt(made)
    needed = float(norm.isf(level)) * spread * math.sqrt(pairs)
    mean = math.fsum(log_ratios) / made
    lacking = needed - made * mean - to_come * (mean + optimism * error)
    if to_come <= 0 or spread <= 0:
        return float(lacking <= 0)
    return float(norm.sf(lacking / (spread * math.sqrt(to_come))))
