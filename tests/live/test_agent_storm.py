"""The real agent's alerts outlive kill -9, and their receiver's absences."""

from pathlib import Path

import pytest
from tests.live.agent_storm import storm

pytestmark = pytest.mark.live


def test_nothing_that_was_recorded_is_lost_or_told_under_two_ids(tmp_path: Path) -> None:
    outcome = storm(tmp_path, alerts=60, kills=2, life_seconds=1.5, seed=5, high_lives=1.5)
    assert outcome.faults == 0, outcome
    assert outcome.fired > 0
    assert outcome.arrivals >= 2 * outcome.fired
    assert outcome.refused + outcome.unanswered > 0, "the receiver was never down"
