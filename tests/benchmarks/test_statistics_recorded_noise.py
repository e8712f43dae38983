"""The benchmark's own cases with fewer studies, at three standard errors."""

import math

import pytest
from tests.benchmarks.statistics_recorded_noise import DATA, FEWEST_FOUND, MOST_FALSE, PLANTED, score

STUDIES = 60


@pytest.mark.parametrize("record", ["step_noise", "step_noise_busy"])
def test_same_against_same_is_kept(record):
    most = MOST_FALSE + 3 * math.sqrt(MOST_FALSE * (1 - MOST_FALSE) / STUDIES)
    assert score(DATA / f"{record}.json", {}, STUDIES).recommended <= most


def test_a_planted_gain_is_found_and_its_interval_covers_it():
    planted = score(DATA / "step_noise.json", PLANTED, STUDIES)
    assert planted.found >= FEWEST_FOUND - 3 * math.sqrt(FEWEST_FOUND * (1 - FEWEST_FOUND) / STUDIES)
    assert planted.covered >= 0.85
