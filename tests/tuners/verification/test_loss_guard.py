import random

import pytest
from tests.tuners.statistics_fakes import measurement

from flyball.tuners.base import Measurement
from flyball.tuners.verification.loss_guard import Guard, compare_losses, known_loss_share, samples_to_judge


def run(level: float, *, seed: int, count: int = 40, batch: int = 8, noise: float = 0.01) -> Measurement:
    """A run whose loss falls from 6 towards ``level`` over the samples seen."""
    draw = random.Random(seed)
    curve = [(batch * n, level + (6 - level) * 0.9**n + draw.gauss(0, noise)) for n in range(1, count + 1)]
    return measurement(losses=tuple(curve))


def runs(level: float, number: int = 6, *, first_seed: int = 0, **options) -> list[Measurement]:
    return [run(level, seed=first_seed + index, **options) for index in range(number)]


@pytest.mark.parametrize(
    ("level", "guard"),
    [
        (3.0, Guard.PASSED),
        (2.5, Guard.PASSED),
        (3.01, Guard.PASSED),
        (3.06, Guard.FAILED),
        (5.0, Guard.FAILED),
    ],
)
def test_the_margin_is_one_percent_of_the_baselines_loss(level, guard):
    verdict = compare_losses(runs(3.0), runs(level))
    assert verdict.guard is guard
    assert verdict.samples == 320
    assert "at 320 samples" in verdict.reason
    assert "margin of 1%" in verdict.reason


@pytest.mark.parametrize(("level", "costs"), [(3.0, False), (3.02, False), (3.3, True)])
def test_a_loss_that_is_higher_for_certain_is_told(level, costs):
    assert compare_losses(runs(3.0), runs(level)).costs_loss is costs


def test_noise_that_hides_a_loss_does_not_pass():
    assert compare_losses(runs(3.0, noise=0.5), runs(3.0, noise=0.5, first_seed=50)).guard is Guard.FAILED


def test_losses_are_compared_at_equal_samples_although_one_went_on_for_longer():
    verdict = compare_losses(runs(3.0, count=40), runs(3.0, count=200))
    assert verdict.samples == 320
    assert verdict.guard is Guard.PASSED
    assert verdict.candidate_loss == pytest.approx(verdict.baseline_loss, rel=0.01)


def test_another_batch_size_is_compared_over_the_same_samples():
    slow = [measurement(losses=tuple((8 * n, 5 - 0.01 * n) for n in range(1, 41)))] * 4
    fast = [measurement(losses=tuple((4 * n, 5 - 0.005 * n) for n in range(1, 81)))] * 4
    verdict = compare_losses(slow, fast)
    assert verdict.guard is Guard.PASSED
    assert verdict.candidate_loss == pytest.approx(verdict.baseline_loss, rel=0.001)


@pytest.mark.parametrize(
    ("baseline", "candidate", "words"),
    [
        ([], [], "0 pairs"),
        (runs(3.0, 2), runs(3.0, 2), "2 pairs"),
        (runs(3.0), [measurement()] * 6, "fewer than 4 losses"),
        (runs(3.0), runs(3.0, count=5), "fewer than 4 losses"),
    ],
)
def test_too_little_data_is_not_judged(baseline, candidate, words):
    verdict = compare_losses(baseline, candidate)
    assert verdict.guard is Guard.NOT_JUDGED
    assert words in verdict.reason


def test_as_many_samples_as_the_guard_asks_for_are_enough():
    steps = int(samples_to_judge(8) / 8)
    assert compare_losses(runs(3.0, count=steps), runs(3.0, count=steps)).guard is not Guard.NOT_JUDGED
    short = runs(3.0, count=steps - 4)
    assert compare_losses(short, short).guard is Guard.NOT_JUDGED


def test_a_loss_below_zero_has_a_margin_too():
    same = [measurement(losses=tuple((n, -2.0) for n in range(1, 41)))] * 4
    worse = [measurement(losses=tuple((n, -1.9) for n in range(1, 41)))] * 4
    assert compare_losses(same, same).guard is Guard.PASSED
    assert compare_losses(same, worse).guard is Guard.FAILED


def test_where_few_losses_are_known_more_samples_must_be_seen():
    assert samples_to_judge(16) == 16 * 16
    assert samples_to_judge(16, known_share=0.5) == 4 * 16 * 16
    assert samples_to_judge(16, known_share=0.0) == samples_to_judge(16, known_share=0.1)


def test_the_run_that_knows_fewest_losses_counts():
    every = measurement(
        100, losses=tuple((16.0 * step, 1.0) for step in range(1, 23)), steps=20, warmup_steps=2
    )
    half = measurement(100, losses=every.losses[::2], steps=20, warmup_steps=2)
    assert known_loss_share([every]) == 1.0
    assert known_loss_share([every, half]) == 0.5
    assert known_loss_share([]) == 1.0
