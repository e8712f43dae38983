"""The benchmark's own cases with fewer studies, at three standard errors."""

import math

import pytest
from tests.benchmarks.statistics_recorded_noise import DATA, FEWEST_FOUND, MOST_FALSE, load, run_noise, score

STUDIES = 60
RECORD = DATA / "step_noise.json"


@pytest.mark.parametrize("record", ["step_noise", "step_noise_busy"])
def test_same_against_same_is_kept(record):
    most = MOST_FALSE + 3 * math.sqrt(MOST_FALSE * (1 - MOST_FALSE) / STUDIES)
    assert score(DATA / f"{record}.json", {}, STUDIES).recommended <= most


def test_a_gain_that_stands_out_of_the_noise_is_found_and_its_interval_covers_it():
    gain = max(0.10, 2.5 * run_noise(load(RECORD)))
    planted = score(RECORD, {"planted": 1 + gain}, STUDIES)
    assert planted.found >= FEWEST_FOUND - 3 * math.sqrt(FEWEST_FOUND * (1 - FEWEST_FOUND) / STUDIES)
    assert planted.covered >= 0.85
