"""Is the best of the search really faster? Whole production runs against the user's own, by a declared rule.

Production runs are few, dear and days apart, so they are no pairs. Each run is one value: what varies between
runs (the day, the node, the neighbours) is in the spread, and a run's own steps say nothing of it.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

from flyball.tuners.base import Interval, Measurement
from flyball.tuners.measurement.interval import CONFIDENCE, t_quantile
from flyball.tuners.verification.plan import Look, Rules
from flyball.tuners.verification.statistics import (
    attainable_rank_sum_level,
    group_difference,
    log_ratio,
    noise_floor,
    rank_sum_p_value,
)
from flyball.tuners.verification.tally import CandidateResult, Pair
from flyball.tuners.verification.verification import Decision, VerificationResult

LOOKS_AT = (3, 5, 8, 12)
"""Runs of the candidate at which it is tested, the user's own having one more."""
TEST = "one-sided Wilcoxon rank-sum on the log rates of whole runs"

RaceRun = tuple[bool, Measurement]
"""Whether it is the candidate's, and what was measured; in the order in which they ran."""
Veto = Callable[[Sequence[Measurement], Sequence[Measurement]], str | None]
"""Given the user's own runs and the candidate's: why it cannot be recommended, or None."""


def race_rules(seed: int) -> Rules:
    """Return the rule that a race is declared with."""
    return Rules(max_rounds=LOOKS_AT[-1], aa_rounds=0, seed=seed, test=TEST)


@lru_cache(maxsize=16)
def race_looks(error_rate: float) -> tuple[Look, ...]:
    """Return the planned tests; their levels add up to the error rate at most.

    The first gets exactly what a clean sweep needs (every run of the candidate faster than every own run).
    What a later one cannot use, since p-values of so few runs are coarse, goes on to the next.
    """
    first = LOOKS_AT[0]
    planned = [Look(pairs=first, level=attainable_rank_sum_level(first, first + 1, error_rate))]
    left = error_rate - planned[0].level
    for index, runs in enumerate(LOOKS_AT[1:]):
        level = attainable_rank_sum_level(runs, runs + 1, left / (len(LOOKS_AT) - 1 - index))
        planned.append(Look(pairs=runs, level=level))
        left -= level
    return tuple(planned)


def judge(
    key: str, runs: Sequence[RaceRun], rules: Rules, veto: Veto = lambda own, new: None
) -> VerificationResult | None:
    """Return what a race has come to, or None while it goes on.

    Args:
        key: of the candidate.
        runs: those of the race, and before them one of the user's own that led into it.
        rules: from ``race_rules``.
        veto: asked before the candidate is recommended.
    """
    own: list[Measurement] = []
    new: list[Measurement] = []
    due = list(race_looks(rules.error_rate))
    for is_candidate, run in runs:
        (new if is_candidate else own).append(run)
        if due and len(new) >= due[0].pairs and len(own) > due[0].pairs:
            ended = _at_look(key, own, new, due.pop(0), rules, veto)
            if ended is not None or not due:
                return ended
    return None


def looks_made(runs: Sequence[RaceRun], rules: Rules) -> int:
    """Return how many of the planned tests have been made."""
    new = sum(is_candidate for is_candidate, _ in runs)
    own = len(runs) - new
    return sum(new >= look.pairs and own > look.pairs for look in race_looks(rules.error_rate))


def _at_look(
    key: str, own: list[Measurement], new: list[Measurement], look: Look, rules: Rules, veto: Veto
) -> VerificationResult | None:
    better = new[0].objective.terms.better
    p_value = rank_sum_p_value(_logs(new), _logs(own))
    difference, error, freedom = group_difference(_logs(new), _logs(own))
    reach = t_quantile(CONFIDENCE, freedom) * error
    gain = Interval(
        point=math.exp(difference), low=math.exp(difference - reach), high=math.exp(difference + reach)
    )
    floor = _noise_floor(own)
    least = max(rules.least_gain, floor or 0.0)
    passed = p_value <= look.level and gain.low > 1
    last = look.pairs == LOOKS_AT[-1]
    objection = None
    decision: Decision | None = None
    if passed and difference >= math.log1p(least):
        objection = veto(own, new)
        decision = Decision.KEEP if objection else Decision.RECOMMENDED
        reason = objection or (
            f"{better} in whole runs, p = {p_value:.2g}: "
            f"{len(new)} of its runs against {len(own)} of your own"
        )
    elif difference < math.log1p(rules.least_gain):
        decision, reason = Decision.KEEP, f"no gain worth a change was seen in {len(new)} runs"
    elif last:
        decision, reason = Decision.KEEP, f"not {better} for certain after {len(new)} runs"
    if decision is None:
        return None
    result = CandidateResult(
        key=key,
        pairs=_beside(own, new),
        speedup=gain,
        p_value=p_value,
        passed=passed,
        dropped=None if decision is Decision.RECOMMENDED else reason,
    )
    return VerificationResult(
        decision=decision,
        winner=key if decision is Decision.RECOMMENDED else None,
        speedup=gain if decision is Decision.RECOMMENDED else None,
        noise_floor=floor,
        minimum_gain=least,
        rounds=len(new),
        runs=len(own) + len(new),
        looks=race_looks(rules.error_rate),
        candidates=(result,),
        aa_pairs=(),
        reasons=(reason,),
    )


def without_race(reason: str, rules: Rules) -> VerificationResult:
    """Return the decision to keep the user's own where nothing was worth a race."""
    return VerificationResult(
        decision=Decision.KEEP,
        winner=None,
        speedup=None,
        noise_floor=None,
        minimum_gain=rules.least_gain,
        rounds=0,
        runs=0,
        looks=(),
        candidates=(),
        aa_pairs=(),
        reasons=(reason,),
    )


def _beside(own: Sequence[Measurement], new: Sequence[Measurement]) -> tuple[Pair, ...]:
    """The candidate's runs, each beside the own run of the race of the same number, as the report shows them.

    They are no pairs to the test.
    """
    return tuple(
        Pair(
            round=number,
            baseline=before.merit.point,
            candidate=after.merit.point,
        )
        for number, (before, after) in enumerate(zip(own[1:], new, strict=False))
    )


def _noise_floor(own: Sequence[Measurement]) -> float | None:
    rates = [run.merit.point for run in own]
    successive = [log_ratio(after, before) for before, after in itertools.pairwise(rates)]
    return noise_floor(successive, len(rates))


def _logs(runs: Sequence[Measurement]) -> list[float]:
    return [math.log(run.merit.point) for run in runs]
