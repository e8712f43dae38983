import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flyball.tuners.verification.statistics import (
    attainable_level,
    attainable_rank_sum_level,
    best_case_p_value,
    holm,
    next_value_interval,
    noise_floor,
    rank_sum_p_value,
    ratio_interval,
    signed_rank_p_value,
    upper_mean,
)

distinct = st.lists(st.integers(1, 10_000), min_size=1, max_size=12, unique=True)


@settings(max_examples=40)
@given(distinct, st.randoms(use_true_random=False))
def test_p_value_without_ties_is_scipys_exact_one(sizes, draw):
    differences = [size * draw.choice((-1, 1)) for size in sizes]
    expected = stats.wilcoxon(differences, alternative="greater", method="exact").pvalue
    assert signed_rank_p_value(differences) == pytest.approx(expected)


@settings(max_examples=50)
@given(st.lists(st.sampled_from((-3, -2, -1, 1, 2, 3)), min_size=1, max_size=8))
def test_p_value_with_ties_is_the_share_of_sign_patterns_that_reach_as_far(differences):
    ranks = stats.rankdata(np.abs(differences))
    reached = ranks[np.array(differences) > 0].sum()
    patterns = itertools.product((0, 1), repeat=len(differences))
    share = np.mean([np.dot(pattern, ranks) >= reached for pattern in patterns])
    assert signed_rank_p_value(differences) == pytest.approx(share)


@pytest.mark.parametrize(
    ("differences", "expected"),
    [([], 1.0), ([0.0] * 6, 1.0), ([0.1] * 6, 1 / 64), ([-0.1] * 6, 1.0), ([0.0, 1, 2, 3, 4, 5], 2 / 64)],
)
def test_p_value_at_the_edges(differences, expected):
    assert signed_rank_p_value(differences) == expected


@pytest.mark.parametrize(("pairs", "level"), list(itertools.product((6, 8, 12), (0.05, 0.0167, 0.001))))
def test_attainable_level_is_the_most_a_test_can_use(pairs, level):
    found = attainable_level(pairs, level)
    assert found <= level
    assert found > 0 or 1 / 2**pairs > level


@settings(max_examples=50)
@given(distinct.filter(lambda sizes: len(sizes) > 1), st.integers(1, 11), st.randoms(use_true_random=False))
def test_no_future_beats_the_best_case(sizes, split, draw):
    signed = [size * draw.choice((-1, 1)) for size in sizes]
    seen, to_come = signed[:split], signed[split:]
    best = best_case_p_value(seen, len(seen) + len(to_come))
    assert best <= signed_rank_p_value([*seen, *to_come]) + 1e-12


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ({"a": 0.01, "b": 0.04, "c": 0.03}, {"a"}),
        ({"a": 0.01, "b": 0.02, "c": 0.03}, {"a", "b", "c"}),
        ({"a": 0.017}, {"a"}),
        ({"a": 0.06}, set()),
        ({}, set()),
    ],
)
def test_holm(p_values, rejected):
    assert holm(p_values, 0.05) == rejected


@pytest.mark.parametrize(("pairs", "heavy"), list(itertools.product((6, 8, 12), (False, True))))
def test_the_printed_interval_covers_the_true_gain(pairs, heavy):
    draw = np.random.default_rng(pairs)
    studies = 1000
    true = math.log(1.1)
    noise = draw.standard_t(3, (studies, pairs)) if heavy else draw.normal(size=(studies, pairs))
    intervals = [ratio_interval(list(row)) for row in true + 0.05 * noise]
    covered = np.mean([found.low <= 1.1 <= found.high for found in intervals])
    assert covered >= 0.93


def test_a_bootstrap_would_cover_less():
    draw = np.random.default_rng(0)
    rows = draw.normal(size=(150, 6))
    found = [stats.bootstrap((row,), np.mean, n_resamples=200, rng=draw).confidence_interval for row in rows]
    assert np.mean([one.low <= 0 <= one.high for one in found]) < 0.93


def test_one_pair_bounds_nothing():
    found = ratio_interval([0.1])
    assert (found.low, found.high) == (0.0, math.inf)
    assert upper_mean([0.1]) == math.inf


def test_upper_mean_is_passed_by_the_truth_in_one_of_twenty():
    draw = random.Random(0)
    studies = 2000
    below = sum(upper_mean([draw.gauss(0, 1) for _ in range(6)]) < 0 for _ in range(studies))
    assert below / studies == pytest.approx(0.05, abs=0.015)


def test_noise_floor_is_what_a_null_result_shows():
    assert noise_floor([], 6) is None, "nothing ran twice: not a noise of none"
    assert noise_floor([0.02, -0.02], 4) == pytest.approx(math.expm1(0.01))


@pytest.mark.parametrize(
    ("larger", "smaller", "expected"),
    [
        ([5.0, 6.0, 7.0], [1.0, 2.0, 3.0, 4.0], 1 / 35),
        ([1.0, 2.0], [3.0, 4.0], 1.0),
        ([2.0, 4.0], [1.0, 3.0], 2 / 6),
        ([1.0, 1.0], [1.0, 1.0], 1.0),
        ([], [1.0], 1.0),
    ],
)
def test_the_rank_sum_test_is_exact(larger: list[float], smaller: list[float], expected: float) -> None:
    assert rank_sum_p_value(larger, smaller) == pytest.approx(expected)


def test_a_rank_sum_level_is_the_largest_that_groups_of_these_sizes_can_reach() -> None:
    assert attainable_rank_sum_level(3, 4, 0.05) == pytest.approx(1 / 35)
    assert attainable_rank_sum_level(3, 4, 0.06) == pytest.approx(2 / 35)
    assert attainable_rank_sum_level(3, 4, 0.01) == 0.0


def test_the_next_of_alike_values_lies_in_a_wider_interval_than_their_mean() -> None:
    values = [1.0, 1.1, 0.9, 1.05]
    found = next_value_interval(values)
    assert found is not None
    assert found[0] < min(values) < max(values) < found[1]
    assert next_value_interval([1.0]) is None
