"""Requests to tune a run: one open for a rule and a run, until autotune takes it."""

import math

from tests.history.alert_fakes import alert
from tests.history.fakes import FakeClock

from flyball.database import Database
from flyball.history.tuning_requests import TuningRequests


def test_a_request_is_held_until_it_is_taken(database: Database, clock: FakeClock) -> None:
    requests = TuningRequests(database, clock=clock)
    made = requests.add(alert("ab"), "job", {"command": ["deepspeed"], "loss": math.nan})
    assert made is not None
    assert made.document == {"command": ["deepspeed"], "loss": None}
    assert (made.rule, made.run, made.fingerprint, made.active_time) == ("GpuHot", "job", "ab", 100.0)
    assert requests.get(made.id) == made
    clock.sleep(5)
    taken = requests.take(made.id)
    assert taken is not None
    assert taken.taken_time == clock.now
    assert requests.get(made.id) == taken
    assert requests.take(made.id) is None
    assert (requests.get(99), requests.take(99)) == (None, None)


def test_a_rule_and_a_run_have_one_open_request(database: Database, clock: FakeClock) -> None:
    requests = TuningRequests(database, clock=clock)
    first = requests.add(alert("a"), "job", {})
    assert first is not None
    assert requests.add(alert("b"), "job", {}) is None
    other = requests.add(alert("a", rule="Slow"), "job", {})
    third = requests.add(alert("a"), "another", {})
    requests.take(first.id)
    again = requests.add(alert("b"), "job", {})
    assert [each.id for each in requests.all(only_open=True)] == [
        each.id for each in (again, third, other) if each
    ]
    assert len(requests.all()) == 4
    assert len(requests.all(limit=2)) == 2
