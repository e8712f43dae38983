"""Who goes into verification, when the search's single noisy runs cannot tell its best apart.

The best of many single trials is mostly the luckiest. Those near the top meet again on fresh runs, in rounds
of their own, until the noise that these rounds show tells enough of them apart. Verification then starts from
nothing, so this costs runs and never honesty.
"""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from flyball.tuners.base import Interval, Measurement

WINDOW_RATIO = 0.15
"""Trials within this of the best are its contenders: differences that noise between runs can make."""
MOST_CONTENDERS = 8
MOST_ROUNDS = 4
CLEAR_ERRORS = 2.0
"""Whoever lies this many standard errors of a difference behind the best is out."""


def contenders(rates: Mapping[str, Interval], baseline: Interval) -> tuple[str, ...]:
    """Return the keys near the top of the search, fastest first.

    Args:
        rates: samples a second of the completed search trials, by key, the baseline's own left out.
        baseline: the same of the baseline: what is slower than it by more than the window is out in any case.
    """
    ordered = sorted(rates, key=lambda key: -rates[key].point)
    if not ordered:
        return ()
    least = max(rates[ordered[0]].point, baseline.point) * (1 - WINDOW_RATIO)
    return tuple(key for key in ordered if rates[key].point >= least)[:MOST_CONTENDERS]


def play_off(
    rates: Mapping[str, Interval],
    baseline: Interval,
    run_once: Callable[[str, int], Measurement | None],
    *,
    most: int,
    rounds: int = MOST_ROUNDS,
    seed: int = 0,
    may_continue: Callable[[int], bool] = lambda runs: True,
) -> tuple[str, ...]:
    """Return at most ``most`` keys for verification, the fastest over search and fresh runs first.

    Nothing is run where the search has no more contenders than can be verified. A contender whose fresh run
    fails is out. Rounds are numbered -1, -2, ...: verification counts its own from 0.
    """
    logs = {key: [math.log(rates[key].point)] for key in contenders(rates, baseline)}
    for number in range(-1, -rounds - 1, -1):
        if len(logs) <= most or not may_continue(len(logs)):
            break
        order = sorted(logs)
        random.Random(f"{seed}:{number}").shuffle(order)
        for key in order:
            run = run_once(key, number)
            if run is None:
                del logs[key]
            else:
                logs[key].append(math.log(run.samples_per_second.point))
        logs = undecided(logs)
    return tuple(sorted(logs, key=lambda key: -fmean(logs[key])))[:most]


def undecided(logs: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """Return the contenders that are not clearly behind the best, by their log rates of each round."""
    if len(logs) < 2:
        return dict(logs)
    made = min(map(len, logs.values()))
    margin = CLEAR_ERRORS * run_noise(list(logs.values())) * math.sqrt(2 / made)
    best = max(fmean(each) for each in logs.values())
    return {key: each for key, each in logs.items() if fmean(each) >= best - margin}


def run_noise(rows: Sequence[Sequence[float]]) -> float:
    """Return the standard deviation of a run's log rate: a row is a contender, a column a round.

    What a contender has throughout and what a round has throughout is taken out; the rest is noise.
    """
    by_round = [fmean(column) for column in zip(*rows, strict=True)]
    middle = fmean(by_round)
    squares = [
        (value - fmean(row) - of_round + middle) ** 2
        for row in rows
        for value, of_round in zip(row, by_round, strict=True)
    ]
    return math.sqrt(math.fsum(squares) / ((len(rows) - 1) * (len(by_round) - 1)))
