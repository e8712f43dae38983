"""Which knobs decided the speed of a study's runs, and how sure that is.

The share of a knob is the variance that it explains alone over the variance of the whole space (functional
ANOVA: Hutter, Hoos and Leyton-Brown, ICML 2014), by forests on bootstrap samples of the configurations that
ran. Optuna's evaluators of the same need scikit-learn, or leave out knobs that do not act in every trial.
"""

import math
import statistics
from collections.abc import Sequence

import numpy as np

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Assignment, Interval, TrialReport
from flyball.tuners.explaining.explanation import Importance, KnobShare
from flyball.tuners.explaining.importance_trees import Array, Tree, grow
from flyball.tuners.results.recommendation import memory_share
from flyball.tuners.search.surrogate import Surrogate
from flyball.tuners.space.space import Space

LEAST_POINTS = 12
"""Fewer configurations say nothing of single knobs."""
LEAST_OF_A_KIND = 3
"""So many must fit and so many not, before it is said what decides that."""
LEAST_EXPLAINED = 0.1
"""Of the variance of configurations held out: below it the differences are taken for noise."""
EXPLAINED_BY_CHANCE = 6.0
"""Over the number of configurations: noise alone seldom explains more."""
FORESTS = 40
TREES = 5
MOST_IN_A_SAMPLE = 100
"""Configurations of one bootstrap sample, so that a long study is explained in seconds too."""
BACKGROUND_POINTS = 64
"""Points of the space that a forest's variance is taken over, drawn anew for each."""
TAILS = (2.5, 97.5)


def speed_importance(space: Space, reports: Sequence[TrialReport], *, seed: int) -> Importance:
    """Return what decides the speed, by every configuration that was measured.

    Those that ran out of memory have no speed and no part in it; see ``memory_importance``.
    """
    rates: dict[str, list[float]] = {}
    points: dict[str, Assignment] = {}
    for report in reports:
        own = report.configuration
        if report.measurement and (point := own_point(space, own.assignment)) is not None:
            rates.setdefault(own.digest, []).append(math.log(report.measurement.merit.point))
            points[own.digest] = point
    if len(rates) < LEAST_POINTS:
        found = f"not enough trials: {len(rates)} configurations were measured, {LEAST_POINTS} are needed"
        return Importance(points=len(rates), reason=found)
    targets = [statistics.fmean(rates[digest]) for digest in points]
    return _importance(space, list(points.values()), targets, seed=seed)


def memory_importance(
    space: Space, reports: Sequence[TrialReport], *, memory_limit_ratio: float, seed: int
) -> Importance | None:
    """Return what decides whether a configuration fits into memory; None where few do or few do not."""
    fits: dict[str, bool] = {}
    points: dict[str, Assignment] = {}
    for report in reports:
        own = report.configuration
        fit = _fits(report, memory_limit_ratio)
        if fit is not None and (point := own_point(space, own.assignment)) is not None:
            fits[own.digest], points[own.digest] = fit and fits.get(own.digest, True), point
    fitting = sum(fits.values())
    if min(fitting, len(fits) - fitting) < LEAST_OF_A_KIND or len(fits) < LEAST_POINTS:
        return None
    return _importance(space, list(points.values()), [float(fits[each]) for each in points], seed=seed)


def own_point(space: Space, assignment: Assignment) -> Assignment | None:
    """Return an assignment as a point of the space; None for what an earlier, other space had."""
    point = space.completed(assignment)
    return point if not assignment or dict(point) == dict(assignment) else None


def _fits(report: TrialReport, memory_limit_ratio: float) -> bool | None:
    if report.outcome.kind is OutcomeKind.OUT_OF_MEMORY:
        return False
    if report.measurement is None:
        return None
    share = memory_share(report.measurement)
    return share is None or share <= memory_limit_ratio


def _importance(
    space: Space, points: Sequence[Assignment], targets: Sequence[float], *, seed: int
) -> Importance:
    random = np.random.default_rng([seed, len(points)])
    rows, wanted = Surrogate(entries=space.entries).coordinates(points), np.array(targets)
    forests, explained = _forests(rows, wanted, random)
    if explained < max(LEAST_EXPLAINED, EXPLAINED_BY_CHANCE / len(points)):
        reason = "the trials do not tell: no knob foretells more than noise would"
        return Importance(points=len(points), explained=explained, reason=reason)
    surrogate = Surrogate(entries=space.entries)
    shares = np.array(
        [_shares(space, forest, surrogate.coordinates(_background(space, random))) for forest in forests]
    )
    low, high = np.percentile(shares, TAILS, axis=0)
    middle = np.median(shares, axis=0)
    # What the forests do not explain of configurations held out may belong to any knob.
    known = min(1.0, explained)
    low, high = low * known, np.minimum(1.0, high * known + 1 - known)
    knobs = [
        KnobShare(
            knob=entry.knob.name,
            share=_around(float(middle[column]), float(low[column]), float(high[column])),
        )
        for column, entry in enumerate(space.entries)
        if len(set(rows[:, column])) > 1
    ]
    ordered = tuple(sorted(knobs, key=lambda each: -each.share.point))
    return Importance(knobs=ordered, points=len(points), explained=explained)


def _around(middle: float, low: float, high: float) -> Interval:
    return Interval(point=middle, low=min(low, middle), high=max(high, middle))


def _background(space: Space, random: np.random.Generator) -> list[Assignment]:
    return [space.draw(random) for _ in range(BACKGROUND_POINTS)]


def _forests(rows: Array, targets: Array, random: np.random.Generator) -> tuple[list[list[Tree]], float]:
    """Return a forest for each bootstrap sample, and what they explain of the rows that each left out."""
    count = len(rows)
    forests, told, times = [], np.zeros(count), np.zeros(count)
    for _ in range(FORESTS):
        sample = random.integers(count, size=min(count, MOST_IN_A_SAMPLE))
        forest = [grow(rows[sample], targets[sample], random) for _ in range(TREES)]
        forests.append(forest)
        out = np.setdiff1d(np.arange(count), sample)
        told[out] += _predict(forest, rows[out])
        times[out] += 1
    seen = times > 0
    left = ((targets[seen] - told[seen] / times[seen]) ** 2).sum()
    all_of_it = ((targets[seen] - targets[seen].mean()) ** 2).sum()
    return forests, float(1 - left / all_of_it) if all_of_it > 0 else 0.0


def _predict(forest: Sequence[Tree], rows: Array) -> Array:
    total = np.zeros(len(rows))
    for tree in forest:
        total += tree.predict(rows)
    return total / len(forest)


def _shares(space: Space, forest: Sequence[Tree], background: Array) -> list[float]:
    """Return each knob's share of the variance of one forest over the space."""
    total = float(_predict(forest, background).var())
    if total == 0:
        return [0.0] * len(space.entries)
    return [
        min(1.0, _main_variance(forest, background, column, len(entry.values)) / total)
        for column, entry in enumerate(space.entries)
    ]


def _main_variance(forest: Sequence[Tree], background: Array, column: int, values: int) -> float:
    """Return the variance of what one knob's values do on average, over the points where it acts."""
    acting = background[background[:, column] >= 0]
    if not len(acting):
        return 0.0
    stacked = np.tile(acting, (values, 1))
    stacked[:, column] = np.repeat(np.arange(values, dtype=np.float64), len(acting))
    means = _predict(forest, stacked).reshape(values, len(acting)).mean(axis=1)
    return float(means.var()) * len(acting) / len(background)
