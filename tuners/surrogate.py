"""Guesses the speed of points not yet tried from those that were.

A Gaussian process on the logarithm of the throughput. Its kernel is mostly a sum over knobs, since knobs
mostly multiply the speed each by its own factor, plus a product for how they act on each other (additive
Gaussian processes: Duvenaud et al., arXiv 1112.4394). Points are compared knob by knob, so that conditional
knobs need no special case: a knob that acts in neither point is alike in both.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from flyball.tuners.base import Assignment
from flyball.tuners.memory import GROWING, LIGHT, SHRINKING
from flyball.tuners.space import Entry

Array = npt.NDArray[np.float64]

LENGTH_STEPS = 1.5
"""Positions over which an ordered knob's effect changes."""
UNLIKE = 0.3
"""Correlation between two values of an unordered knob."""
HALF_ACTING = 0.5
"""Correlation between a point where a knob acts and one where it does not."""
PRODUCT_SHARE = 0.3
CERTAINTY = 0.95
"""How sure one failure makes it that the same point would fail again."""
LEAST_SPREAD = 0.05
"""In log throughput: closer observations say nothing about the scale of the effects."""
OUT_OF_MEMORY = "out_of_memory"
NOISE = 0.03
"""Relative error of one short measurement."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One finished trial: its point, and its throughput or None where it could not run."""

    assignment: Assignment
    value: float | None
    constraint: str = OUT_OF_MEMORY
    """Which limit a point without a value ran into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surrogate:
    """The process over the points of one space."""

    entries: Sequence[Entry]

    def coordinates(self, points: Sequence[Assignment]) -> Array:
        """Return one row a point: the position of each knob's value, -1 where the knob does not act."""
        table = [{value: index for index, value in enumerate(entry.values)} for entry in self.entries]
        rows = [
            [column[point[entry.knob.name]] if entry.knob.name in point else -1 for entry, column in pairs]
            for point in points
            for pairs in (list(zip(self.entries, table, strict=True)),)
        ]
        return np.array(rows, dtype=np.float64).reshape(len(points), len(self.entries))

    def kernel(self, left: Array, right: Array) -> Array:
        """Return the correlation of every row of ``left`` with every row of ``right``."""
        total = sum(entry.knob.weight for entry in self.entries)
        added = np.zeros((len(left), len(right)))
        product = np.ones_like(added)
        for column, entry in enumerate(self.entries):
            here, there = left[:, column, None], right[None, :, column]
            alike = np.where((here < 0) != (there < 0), HALF_ACTING, _alike(here, there, entry.ordered))
            added += alike * (entry.knob.weight / total)
            product *= alike
        return (1 - PRODUCT_SHARE) * added + PRODUCT_SHARE * product

    def expected_improvement(self, seen: Sequence[Observation], points: Sequence[Assignment]) -> Array:
        """Return for each point how much it can be expected to beat the best, in scaled log throughput.

        What could not run is no low throughput: its neighbours on the other side of the limit are often the
        fastest. It lowers the figure of points like it instead, and of those that need as much memory. At
        least one observation must have run.
        """
        ran = [observation for observation in seen if observation.value]
        logs = np.array([math.log(observation.value or 1.0) for observation in ran])
        spread = max(float(logs.std()), LEAST_SPREAD)
        known = self.coordinates([observation.assignment for observation in ran])
        matrix = self.kernel(known, known)
        noisy = matrix + np.eye(len(ran)) * max((NOISE / spread) ** 2, 1e-6)
        weights = np.linalg.solve(noisy, (logs - logs.mean()) / spread)
        best = float((matrix @ weights).max())
        wanted = self.coordinates(points)
        across = self.kernel(wanted, known)
        variance = 1 - np.einsum("ij,ji->i", across, np.linalg.solve(noisy, across.T))
        gain = _improvement(across @ weights - best, np.sqrt(np.maximum(variance, 1e-12)))
        return gain * self._chance(wanted, [other for other in seen if not other.value])

    def _chance(self, wanted: Array, infeasible: Sequence[Observation]) -> Array:
        """Return for every row of ``wanted`` a figure from 0 to 1 for whether it can run at all."""
        chance = np.ones(len(wanted))
        for observation in infeasible:
            failed = self.coordinates([observation.assignment])
            if observation.constraint == OUT_OF_MEMORY:
                chance *= 1 - CERTAINTY * self._as_heavy(wanted, failed)
            else:
                chance *= 1 - CERTAINTY * self.kernel(wanted, failed)[:, 0]
        return chance

    def _as_heavy(self, wanted: Array, failed: Array) -> Array:
        """Return how sure it is that every row needs as much memory as the one that ran out of it."""
        heavy = np.ones(len(wanted))
        for column, entry in enumerate(self.entries):
            name = entry.knob.name
            distance = wanted[:, column] - failed[0, column]
            if name in GROWING:
                distance = np.minimum(distance, 0)
            elif name in SHRINKING:
                distance = np.maximum(distance, 0)
            if name not in LIGHT:
                heavy *= _alike(distance, np.zeros_like(distance), entry.ordered)
        return heavy


def _alike(left: Array, right: Array, ordered: bool) -> Array:
    distance = np.abs(left - right)
    alike = np.exp(-0.5 * (distance / LENGTH_STEPS) ** 2) if ordered else np.where(distance == 0, 1.0, UNLIKE)
    result: Array = alike
    return result


def _improvement(gain: Array, deviation: Array) -> Array:
    """Expected improvement of a normal variable over zero (Jones, Schonlau and Welch, 1998)."""
    score = gain / deviation
    result: Array = gain * norm.cdf(score) + deviation * norm.pdf(score)
    return result
