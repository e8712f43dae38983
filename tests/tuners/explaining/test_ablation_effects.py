"""What rounds of runs say of each changed knob: the ratio, its interval, and the word for it."""

import math
import random

import pytest

from flyball.tuners.base import Interval
from flyball.tuners.explaining.ablation_effects import REFERENCE, kind_of, ratios
from flyball.tuners.explaining.ablation_plan import FEWEST_ROUNDS, MOST_ROUNDS, plan_rounds, read_plan
from flyball.tuners.explaining.explanation import EffectKind

TRUE = {"micro_batch": 0.3, "zero_stage": 0.05, "threads": 0.0}


def rounds(chance: random.Random, *, count: int, noise: float, disturbance: float = 0.2):
    """Rounds in which a machine drifts by ``disturbance`` from one to the next."""
    found = []
    for _ in range(count):
        drift = chance.gauss(0, disturbance)
        logs = {REFERENCE: 0.0, **{knob: -gain for knob, gain in TRUE.items()}}
        found.append({key: 100 * math.exp(log + drift + chance.gauss(0, noise)) for key, log in logs.items()})
    return found


@pytest.mark.parametrize("count", [2, 4, 8])
def test_the_printed_intervals_hold_the_truth_as_often_as_they_say(count):
    chance = random.Random(5)
    held = total = 0
    for _ in range(400):
        for knob, ratio in ratios(rounds(chance, count=count, noise=0.02)).items():
            held += ratio.low <= math.exp(TRUE[knob]) <= ratio.high
            total += 1
    assert 0.93 <= held / total <= 0.97


def test_a_drift_of_the_machine_between_rounds_does_not_widen_them():
    calm, rough = (
        ratios(rounds(random.Random(7), count=4, noise=0.01, disturbance=drift))["zero_stage"]
        for drift in (0.0, 1.0)
    )
    assert rough.high - rough.low == pytest.approx(calm.high - calm.low)


def test_one_round_says_no_bounds_and_none_says_nothing():
    (only,) = rounds(random.Random(1), count=1, noise=0.0)
    assert ratios([only])["micro_batch"] == Interval(
        point=pytest.approx(math.exp(0.3)), low=0.0, high=math.inf
    )
    assert ratios([]) == {}


@pytest.mark.parametrize(
    ("low", "high", "kind"),
    [
        (1.01, 1.03, EffectKind.FASTER),
        (0.95, 0.99, EffectKind.SLOWER),
        (0.99, 1.015, EffectKind.NOTHING_MEASURABLE),
        (0.90, 1.015, EffectKind.NOTHING_MEASURABLE),
        (0.99, 1.05, EffectKind.UNCLEAR),
        (0.0, math.inf, EffectKind.UNCLEAR),
    ],
)
def test_what_an_interval_means(low, high, kind):
    assert kind_of(Interval(point=1.0, low=low, high=high), minimum_gain=0.005) is kind


def test_what_a_noisy_machine_cannot_tell_from_nothing_is_nothing_there():
    ratio = Interval(point=1.0, low=0.97, high=1.05)
    assert kind_of(ratio, minimum_gain=0.03) is EffectKind.NOTHING_MEASURABLE


def plan(limit: float, knobs=("a", "b", "c")):
    return plan_rounds(knobs, reference="r", reference_seconds=2.0, reverted_seconds=3.0, limit_seconds=limit)


def test_as_many_knobs_as_fit_the_most_important_first_then_more_rounds(tmp_path):
    one, all_three = (FEWEST_ROUNDS * seconds * 1.15 for seconds in (5, 11))
    assert plan(one - 0.1).knobs == ()
    assert (plan(one + 0.1).knobs, plan(one + 0.1).rounds) == (("a",), FEWEST_ROUNDS)
    assert plan(all_three - 0.1).knobs == ("a", "b")
    assert (plan(all_three + 0.1).knobs, plan(all_three + 0.1).rounds) == (("a", "b", "c"), FEWEST_ROUNDS)
    assert plan(math.inf).rounds == plan(10_000).rounds == MOST_ROUNDS
    assert read_plan(tmp_path) is None
    plan(100).write(tmp_path)
    assert read_plan(tmp_path) == plan(100)
    (tmp_path / "ablation_plan.json").write_text("{")
    assert read_plan(tmp_path) is None
