"""Mutes: in force until their time, or until somebody ends them."""

import pytest
from tests.history.fakes import FakeClock

from flyball.database import Database
from flyball.history.alert_records import Mute
from flyball.history.mute_log import MuteLog


def test_a_mute_is_in_force_until_its_time_or_its_end(database: Database, clock: FakeClock) -> None:
    log = MuteLog(database, clock=clock)
    short = log.add({"gpu": "0"}, until_time=clock.now + 60, comment="a new fan comes")
    long = log.add({"alertname": "GpuHot"}, until_time=None)
    assert log.active() == (short, long)
    clock.sleep(60)
    assert log.active() == (long,)
    assert log.end(long.id)
    assert log.active() == ()
    assert [each.id for each in log.all()] == [long.id, short.id]
    assert [each.until_time for each in log.all()] == [clock.now, clock.now]
    assert [each.id for each in log.all(limit=1)] == [long.id]


def test_what_is_not_in_force_cannot_be_ended(database: Database, clock: FakeClock) -> None:
    log = MuteLog(database, clock=clock)
    over = log.add({}, until_time=clock.now)
    assert not log.end(over.id)
    assert not log.end(99)


@pytest.mark.parametrize(
    ("matchers", "muted"),
    [
        ({}, True),
        ({"gpu": "0"}, True),
        ({"gpu": "0", "host": "node-1"}, True),
        ({"gpu": "0", "host": "node-2"}, False),
        ({"rank": "0"}, False),
        ({"rank": ""}, True),
    ],
)
def test_all_labels_of_a_mute_must_be_equal(matchers: dict[str, str], muted: bool) -> None:
    one = Mute(matchers=matchers, created_time=0.0, until_time=None)
    assert one.matches({"gpu": "0", "host": "node-1"}) is muted
