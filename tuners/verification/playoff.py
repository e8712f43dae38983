"""Who goes into verification, when the search's single noisy runs cannot tell its best apart.

The best of many single trials is mostly the luckiest. Those near the top meet again on fresh runs, in rounds
of their own, until the noise that these rounds show tells enough of them apart. Verification then starts from
nothing, so this costs runs and never honesty.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from flyball.tuners.base import Interval, Measurement

MOST_CONTENDERS = 15
MOST_ROUNDS = 8
MOST_IN_A_ROUND = 6
"""Rounds of a few teach where it matters: who is not in one is still judged by what its like did in it."""
CLEAR_ERRORS = 3.0
"""Whoever lies this many standard errors of a difference behind the best is out."""
NEAR_ERRORS = 0.25
CHEAPER = 0.75
"""Whoever is behind the best by less than the one share of the error of their difference, and whose runs take
less than the other share of its time, is verified in its place: as likely fastest, and more pairs fit."""
UNSEEN_NOISE = 0.05
"""Standard deviation of a run's log rate that is taken for granted until fresh runs have shown it."""
UNSEEN_WEIGHT = 6
"""So many residuals of fresh runs weigh as much as what was taken for granted."""
KEPT_SHARE = 2 / 3
"""Of a contender's runs, the fastest that its speed is taken from: a neighbour on the machine only slows."""
NORMAL = 1.4826
"""Standard deviation over the median absolute deviation, of a normal variable."""


def speed(logs: Sequence[float]) -> float:
    """Return where a contender's log rates lie: the mean of the faster two thirds."""
    ordered = sorted(logs, reverse=True)
    return fmean(ordered[: math.ceil(len(ordered) * KEPT_SHARE)])


def run_noise(rows: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of one run's log rate, from those who ran more than once.

    By the median absolute deviation: one run beside a busy neighbour must not make everybody alike.
    """
    residuals = [
        abs(value - median(row)) * math.sqrt(len(row) / (len(row) - 1))
        for row in rows
        if len(row) > 1
        for value in row
    ]
    seen = NORMAL * median(residuals) if residuals else 0.0
    weight = len(residuals)
    return (seen * weight + UNSEEN_NOISE * UNSEEN_WEIGHT) / (weight + UNSEEN_WEIGHT)


def contenders(logs: Mapping[str, Sequence[float]], baseline: float) -> tuple[str, ...]:
    """Return who is not clearly behind the best, fastest first.

    Args:
        logs: log rates by key, one or more of each.
        baseline: log rate of the baseline: who is clearly behind it is out as well.
    """
    if not logs:
        return ()
    noise = run_noise(list(logs.values()))
    speeds = {key: speed(rows) for key, rows in logs.items()}
    best = max(speeds, key=lambda key: speeds[key])

    def stands(key: str) -> bool:
        own = 1 / len(logs[key])
        behind_best = CLEAR_ERRORS * noise * math.sqrt(own + 1 / len(logs[best]))
        behind_baseline = CLEAR_ERRORS * noise * math.sqrt(own + 1)
        return speeds[key] >= max(speeds[best] - behind_best, baseline - behind_baseline)

    standing = filter(stands, logs)
    return tuple(sorted(standing, key=lambda key: -speeds[key]))[:MOST_CONTENDERS]


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranking:
    """What all runs together say of the contenders."""

    speeds: Mapping[str, float]
    """Log rate of each, its runs' luck taken out as far as the others tell it."""
    baseline: float
    """The same of the baseline."""
    error: Callable[[str, str | None], float]
    """Standard deviation of the difference of two contenders; of a contender and the baseline, given None."""

    def standing(self) -> tuple[str, ...]:
        """Return who is not clearly behind the best, nor the baseline, fastest first."""
        ranked = sorted(self.speeds, key=lambda key: -self.speeds[key])

        def stands(key: str) -> bool:
            behind = self.speeds[ranked[0]] - self.speeds[key] - CLEAR_ERRORS * self.error(ranked[0], key)
            slower = self.baseline - self.speeds[key] - CLEAR_ERRORS * self.error(key, None)
            return behind <= 0 and slower <= 0

        return tuple(filter(stands, ranked))[:MOST_CONTENDERS]

    def hopeful(self) -> tuple[str, ...]:
        """Return who stands, first those who may be fastest: fast so far, or little known."""
        return tuple(sorted(self.standing(), key=lambda key: -self.speeds[key] - self.error(key, None)))

    def ahead(self, seconds: Callable[[str], float] = lambda key: 0.0) -> tuple[str, ...]:
        """Return who of them is thought faster than the baseline, fastest first.

        Args:
            seconds: that a run of one takes: a much cheaper one goes before a best that is hardly ahead.
        """
        ranked = [key for key in self.standing() if self.speeds[key] > self.baseline]
        if not ranked:
            return ()
        best = ranked[0]
        near = [
            key
            for key in ranked
            if self.speeds[best] - self.speeds[key] <= NEAR_ERRORS * self.error(best, key)
            and seconds(key) < CHEAPER * seconds(best)
        ]
        ranked.sort(key=lambda key: key not in near[:1])
        return tuple(ranked)


Rank = Callable[[Mapping[str, Sequence[float]]], Ranking]
"""Judges the contenders by their log rates, one or more of each."""


def play_off(
    rates: Mapping[str, Interval],
    run_once: Callable[[str, int], Measurement | None],
    rank: Rank,
    *,
    most: int,
    rounds: int = MOST_ROUNDS,
    seed: int = 0,
    may_continue: Callable[[Sequence[str]], bool] = lambda keys: True,
    seconds: Callable[[str], float] = lambda key: 0.0,
) -> tuple[str, ...]:
    """Return whoever is ahead of the baseline and not clearly behind the best, the fastest first.

    Judged over search and fresh runs together. Nothing is run where the search leaves no more contenders than
    ``most``, and no further round once there are so few. A contender whose fresh run fails is out. At most
    ``MOST_IN_A_ROUND`` meet in a round; where the budget does not hold a run of all of them
    (``may_continue``, given their keys), the fastest that it holds. Rounds count -1, -2, ...: those of
    verification count from 0. For ``seconds`` see :meth:`Ranking.ahead`.
    """
    logs = {key: [math.log(rate.point)] for key, rate in rates.items()}
    for number in range(-1, -rounds - 1, -1):
        standing = rank(logs).hopeful() if logs else ()
        if len(standing) <= most:
            break
        standing = standing[:MOST_IN_A_ROUND]
        while len(standing) > most and not may_continue(standing):
            standing = standing[:-1]
        if len(standing) <= most:
            break
        order = sorted(standing)
        random.Random(f"{seed}:{number}").shuffle(order)
        for key in order:
            run = run_once(key, number)
            if run is None:
                del logs[key]
            else:
                logs[key].append(math.log(run.merit.point))
    return rank(logs).ahead(seconds) if logs else ()


def ranked_by_own_runs(logs: Mapping[str, Sequence[float]], baseline: float) -> Ranking:
    """Judge every contender by its own runs alone.

    Args:
        logs: log rates by key, one or more of each.
        baseline: log rate of the baseline.
    """
    noise = run_noise(list(logs.values()))
    return Ranking(
        speeds={key: speed(rows) for key, rows in logs.items()},
        baseline=baseline,
        error=lambda first, second: (
            noise * math.sqrt(1 / len(logs[first]) + (1 / len(logs[second]) if second else 1))
        ),
    )
