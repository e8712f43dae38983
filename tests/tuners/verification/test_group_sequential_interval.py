import math

import numpy as np
import pytest

from flyball.tuners.verification.group_sequential_interval import Stopped, stopped_interval
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.statistics import noise_floor, ratio_interval, signed_rank_p_value

NOISE = 0.09
"""Standard deviation of a run's log rate, as recorded on a GPU."""


def recommended(gain, rules, *, wanted, seed):
    """Yield pairs, looks up to the one that passed, and the error that the baseline's runs tell."""
    draw, looks, found = np.random.default_rng(seed), rules.looks(1), 0
    while found < wanted:
        own = draw.normal(0.0, NOISE, looks[-1].pairs + 1)
        ratios = draw.normal(gain, NOISE, looks[-1].pairs) - own[1:]
        for made, look in enumerate(looks, start=1):
            pairs = ratios[: look.pairs].tolist()
            if signed_rank_p_value(pairs) <= look.level:
                error = math.log1p(noise_floor(np.diff(own[: look.pairs + 1]).tolist(), look.pairs))
                yield pairs, stopped(looks[:made]), error
                found += 1
                break


def stopped(looks):
    return Stopped(pairs=tuple(each.pairs for each in looks), levels=tuple(each.level for each in looks))


@pytest.mark.parametrize(
    ("rounds", "gain"), [(6, 0.10), (26, 0.05), (26, 0.10), (46, 0.06), (75, 0.08), (75, 0.30)]
)
def test_the_interval_holds_the_gain_of_what_was_recommended(rounds, gain):
    rules, wanted = Rules().within(rounds, 1), 80
    told = [
        stopped_interval(pairs, looks, least_error=error)
        for pairs, looks, error in recommended(gain, rules, wanted=wanted, seed=rounds)
    ]
    held = [holds(interval, gain) for interval in told]
    # Were it 93%, fewer than 68 of 80 would hold it once in 200 times.
    assert sum(held) >= 68


def test_where_a_test_could_find_little_the_usual_interval_misses_and_this_one_does_not():
    gain, rules = 0.05, Rules().within(6, 1)
    usual, mended = 0, 0
    for pairs, looks, error in recommended(gain, rules, wanted=100, seed=1):
        usual += holds(ratio_interval(pairs), gain)
        mended += holds(stopped_interval(pairs, looks, least_error=error), gain)
    assert usual < 80
    assert mended > 88


def holds(interval, gain):
    return interval.low <= math.exp(gain) <= interval.high


def test_the_point_is_less_biased_than_the_mean():
    gain, rules = 0.05, Rules().within(46, 1)
    points, means = [], []
    for pairs, looks, error in recommended(gain, rules, wanted=120, seed=2):
        points.append(math.log(stopped_interval(pairs, looks, least_error=error).point))
        means.append(float(np.mean(pairs)))
    assert abs(np.median(points) - gain) < abs(np.median(means) - gain)


def test_a_gain_far_beyond_its_boundary_has_the_usual_interval():
    pairs = [0.69, 0.71, 0.70, 0.72, 0.68, 0.70]
    found = stopped_interval(pairs, Stopped(pairs=(6,), levels=(1 / 64,)))
    usual = ratio_interval(pairs)
    assert (found.low, found.point, found.high) == pytest.approx((usual.low, usual.point, usual.high))


def test_what_barely_passed_may_be_hardly_any_gain_and_what_passed_clearly_is_more():
    looks = Stopped(pairs=(8, 13), levels=(1 / 256, 0.02))
    spread = np.linspace(-0.15, 0.15, 13)
    barely, clearly = (stopped_interval((spread + mean).tolist(), looks) for mean in (0.06, 0.15))
    assert barely.low == 1.0 < barely.point < math.exp(0.06) < barely.high
    assert 1.0 < clearly.low < clearly.point <= math.exp(0.15) < clearly.high


def test_two_candidates_make_it_wider_and_so_does_noise_that_others_show():
    pairs = [0.10, 0.16, 0.12, 0.18, 0.11, 0.15, 0.14, 0.13]
    alone = stopped_interval(pairs, Stopped(pairs=(8,), levels=(1 / 256,)))
    beside = stopped_interval(pairs, Stopped(pairs=(8,), levels=(1 / 256,)), confidence=0.975)
    loud = stopped_interval(pairs, Stopped(pairs=(8,), levels=(1 / 256,)), least_error=0.04)
    assert beside.low < alone.low
    assert beside.high > alone.high
    assert loud.low < alone.low
    assert loud.high > alone.high


def test_pairs_that_all_agree_need_no_law():
    found = stopped_interval([0.1] * 8, Stopped(pairs=(8,), levels=(1 / 256,)))
    assert found.low == pytest.approx(math.exp(0.1)) == found.high
