"""Alerts outlive kill -9 of the process that raises them, and their receiver's absences."""

from pathlib import Path

import pytest
from tests.live.alert_storm import in_order, storm

pytestmark = pytest.mark.live


def test_nothing_is_lost_or_told_under_two_ids(tmp_path: Path) -> None:
    outcome = storm(tmp_path, alerts=150, kills=5, life_seconds=0.6, seed=11)
    assert outcome.faults == 0, outcome
    assert outcome.arrivals >= 300
    assert outcome.refused + outcome.unanswered > 0, "the receiver was never down"


@pytest.mark.parametrize(
    ("statuses", "right"),
    [
        (["firing", "resolved"], True),
        (["firing", "firing", "resolved", "resolved"], True),
        (["firing", "resolved", "firing", "resolved"], False),
        (["resolved", "firing"], False),
        (["firing"], False),
    ],
)
def test_the_storm_sees_what_is_out_of_order(statuses: list[str], right: bool) -> None:
    assert in_order(statuses) is right
