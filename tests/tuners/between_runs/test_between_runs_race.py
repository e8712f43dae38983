"""The rule of a race between whole runs: what it decides, and how often wrongly."""

import math
import random
from collections.abc import Callable, Iterator

import pytest

from flyball.tuners.base import Interval, Measurement
from flyball.tuners.between_runs.race import LOOKS_AT, RaceRun, judge, looks_made, race_looks, race_rules
from flyball.tuners.verification.verification import Decision, VerificationResult

RULES = race_rules(0)


def run(rate: float) -> Measurement:
    return Measurement(
        samples_per_second=Interval(point=rate, low=rate, high=rate),
        tokens_per_second=None,
        steps=100,
        warmup_steps=3,
        seconds=10.0,
    )


def race(draw: Callable[[bool], float]) -> Iterator[list[RaceRun]]:
    """A race as it grows: one own run first, then both in turn."""
    runs = [(False, run(draw(False)))]
    for number in range(2 * LOOKS_AT[-1]):
        is_candidate = number % 2 == 0
        runs.append((is_candidate, run(draw(is_candidate))))
        yield runs


def came_to(draw: Callable[[bool], float]) -> VerificationResult:
    found = (judge("trial 1", runs, RULES) for runs in race(draw))
    return next(result for result in found if result is not None)


def noisy(gain: float, noise: float, seed: int) -> Callable[[bool], float]:
    luck = random.Random(seed)
    return lambda is_candidate: 100.0 * (gain if is_candidate else 1.0) * math.exp(luck.gauss(0.0, noise))


def test_the_tests_spend_no_more_than_the_error_rate() -> None:
    looks = race_looks(RULES.error_rate)
    assert [look.pairs for look in looks] == list(LOOKS_AT)
    assert looks[0].level == pytest.approx(1 / 35)
    assert sum(look.level for look in looks) <= RULES.error_rate


def test_a_clear_gain_is_recommended_at_the_first_look() -> None:
    result = came_to(noisy(1.5, 0.03, seed=1))
    assert (result.decision, result.rounds) == (Decision.RECOMMENDED, 3)
    assert result.speedup is not None
    assert result.speedup.low < 1.5 < result.speedup.high


def test_no_gain_is_kept_off_at_the_first_look() -> None:
    result = came_to(noisy(0.9, 0.01, seed=1))
    assert (result.decision, result.rounds) == (Decision.KEEP, 3)


def test_what_is_uncertain_goes_on_to_the_last_look() -> None:
    result = came_to(noisy(1.03, 0.08, seed=3))
    assert result.rounds > 3
    assert result.decision is Decision.KEEP


def test_a_veto_keeps_the_users_own_however_fast_the_candidate_is() -> None:
    runs = [*race(noisy(1.5, 0.01, seed=1))][-1]
    result = judge("trial 1", runs, RULES, lambda own, new: "it reserved 95% of the device")
    assert result is not None
    assert (result.decision, result.reasons[0]) == (Decision.KEEP, "it reserved 95% of the device")


def test_looks_are_counted_as_they_are_made() -> None:
    made = [looks_made(runs, RULES) for runs in race(noisy(1.0, 0.01, seed=1))]
    assert (made[4], made[5], made[-1]) == (0, 1, len(LOOKS_AT))


def test_of_alike_configurations_few_are_recommended_and_the_interval_holds_the_truth() -> None:
    results = [came_to(noisy(1.0, 0.05, seed)) for seed in range(1000)]
    wrong = sum(result.decision is Decision.RECOMMENDED for result in results)
    assert wrong <= 50  # 5%


def test_a_gain_of_ten_percent_is_found_through_the_noise_between_runs() -> None:
    results = [came_to(noisy(1.10, 0.02, seed)) for seed in range(300)]
    found = [result for result in results if result.decision is Decision.RECOMMENDED]
    assert len(found) >= 0.9 * len(results)
    inside = sum(result.speedup.low <= 1.10 <= result.speedup.high for result in found if result.speedup)
    assert inside >= 0.9 * len(found)
