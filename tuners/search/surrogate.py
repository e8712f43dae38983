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
from flyball.tuners.memory.ran_out import GROWING, LIGHT, SHRINKING
from flyball.tuners.space.space import Entry

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
OUT_OF_MEMORY = "out_of_memory"
EXPECTED_NOISE, NOISE_DOUBT = 0.05, 0.7
"""Relative error of one run, before any was seen, and the standard deviation of its logarithm."""
EXPECTED_SCALE, SCALE_DOUBT = 0.2, 1.2
"""The same of what the knobs do to the log throughput."""
NOISES = np.geomspace(0.005, 0.5, 14)
SCALES = np.geomspace(0.01, 2.0, 14)
"""Among which the likeliest pair is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One finished trial: its point, and its throughput or None where it could not run."""

    assignment: Assignment
    value: float | None
    constraint: str = OUT_OF_MEMORY
    """Which limit a point without a value ran into."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Belief:
    """What is thought of some points after some runs, in log throughput."""

    means: Array
    covariance: Array
    noise: float
    """Standard deviation of one run about its point's own speed."""

    def error(self, first: int, second: int) -> float:
        """Return the standard deviation of the difference of two points."""
        both = self.covariance[first, first] + self.covariance[second, second]
        return math.sqrt(max(0.0, float(both - 2 * self.covariance[first, second])))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scales:
    """How large effects and noise are, in log throughput."""

    middle: float
    effects: float
    noise: float

    @property
    def ratio(self) -> float:
        """Return the variance of the noise over that of the effects."""
        return (self.noise / self.effects) ** 2


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
        ran, logs, known, matrix = self._learn_from(seen)
        scales = learned_scales(matrix, logs)
        noisy = matrix + np.eye(len(ran)) * scales.ratio
        weights = np.linalg.solve(noisy, (logs - scales.middle) / scales.effects)
        best = float((matrix @ weights).max())
        wanted = self.coordinates(points)
        across = self.kernel(wanted, known)
        variance = 1 - np.einsum("ij,ji->i", across, np.linalg.solve(noisy, across.T))
        gain = _improvement(across @ weights - best, np.sqrt(np.maximum(variance, 1e-12)))
        return gain * self._chance(wanted, [other for other in seen if not other.value])

    def belief(self, seen: Sequence[Observation], points: Sequence[Assignment]) -> Belief:
        """Return what all runs together say of some points; a point may have run more than once.

        At least one observation must have run.
        """
        ran, logs, known, matrix = self._learn_from(seen)
        scales = learned_scales(matrix, logs)
        noisy = matrix + np.eye(len(ran)) * scales.ratio
        wanted = self.coordinates(points)
        across = self.kernel(wanted, known)
        means = scales.middle + across @ np.linalg.solve(noisy, logs - scales.middle)
        left = self.kernel(wanted, wanted) - across @ np.linalg.solve(noisy, across.T)
        return Belief(means=means, covariance=left * scales.effects**2, noise=scales.noise)

    def _learn_from(self, seen: Sequence[Observation]) -> tuple[list[Observation], Array, Array, Array]:
        ran = [observation for observation in seen if observation.value]
        logs = np.array([math.log(observation.value or 1.0) for observation in ran])
        known = self.coordinates([observation.assignment for observation in ran])
        return ran, logs, known, self.kernel(known, known)

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


@dataclass(frozen=True, kw_only=True, slots=True)
class ScaleGrid:
    """Every pair of sizes that is looked at, with how badly it explains some runs."""

    misfit: Array
    """Twice the negative log of the posterior, up to a constant."""
    middle: Array
    effects: Array
    noise: Array


def learned_scales(matrix: Array, logs: Array) -> Scales:
    """Return the likeliest size of effects and noise behind some runs.

    Args:
        matrix: correlation of the points of the runs.
        logs: log throughput of the runs.
    """
    grid = scale_grid(matrix, logs)
    best = int(np.argmin(grid.misfit))
    return Scales(
        middle=float(grid.middle[best]), effects=float(grid.effects[best]), noise=float(grid.noise[best])
    )


def scale_grid(matrix: Array, logs: Array) -> ScaleGrid:
    """Return how well each pair of sizes explains some runs.

    Marginal likelihood of the process over a grid of both, with a wide prior on each: few runs say little.

    Args:
        matrix: correlation of the points of the runs.
        logs: log throughput of the runs.
    """
    values, vectors = np.linalg.eigh(matrix)
    turned, ones = vectors.T @ logs, vectors.T @ np.ones(len(logs))
    effects, noise = (each.ravel() for each in np.meshgrid(SCALES, NOISES, indexing="ij"))
    # One row a pair: the variance of each turned observation under it.
    variances = effects[:, None] ** 2 * np.maximum(values, 0.0) + noise[:, None] ** 2
    middles = (turned * ones / variances).sum(axis=1) / (ones**2 / variances).sum(axis=1)
    squares = ((turned - middles[:, None] * ones) ** 2 / variances).sum(axis=1)
    doubts = (np.log(noise / EXPECTED_NOISE) / NOISE_DOUBT) ** 2
    doubts += (np.log(effects / EXPECTED_SCALE) / SCALE_DOUBT) ** 2
    misfit = squares + np.log(variances).sum(axis=1) + doubts
    return ScaleGrid(misfit=misfit, middle=middles, effects=effects, noise=noise)


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
