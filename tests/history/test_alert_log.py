"""Alerts are kept as they change, on both databases, and what is recorded twice counts once."""

import math
import re
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.history.alert_fakes import alert, change, done, pending, resolved, told
from tests.history.fakes import FakeClock

from flyball.database import Database, open_database
from flyball.errors import StorageFailed
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, AlertStatus
from flyball.history.alert_rows import alert_document, alert_of_document
from flyball.history.outbox import Outbox

DAY = 86400.0


@pytest.fixture
def log(database: Database, clock: FakeClock) -> AlertLog:
    return AlertLog(database, clock=clock, agent="node-1")


@pytest.fixture
def outbox(database: Database, clock: FakeClock) -> Outbox:
    return Outbox(database, clock=clock, agent="node-1")


@pytest.mark.parametrize("value", [0.1, -1e300, math.nan, math.inf, -math.inf])
def test_an_open_alert_comes_back_as_it_was(log: AlertLog, value: float) -> None:
    one = alert(value=value, quiet_time=170.25, active_time=1.1)
    log.record([change(one)])
    (back,) = log.open_alerts()
    assert repr(back) == repr(one)


def test_an_alert_is_open_from_pending_until_it_is_dropped_or_resolved(log: AlertLog) -> None:
    log.record([change(pending("a")), change(pending("b")), change(pending("c"))])
    log.record([change(alert("b")), change(alert("c", AlertStatus.DROPPED))])
    assert {each.fingerprint: each.status for each in log.open_alerts()} == {"a": "pending", "b": "firing"}
    log.record([change(resolved("b"))])
    assert [each.fingerprint for each in log.open_alerts()] == ["a"]


def test_an_alert_that_comes_back_is_a_new_one(log: AlertLog) -> None:
    log.record([change(resolved(active_time=100.0)), change(pending(active_time=900.0))])
    assert [(each.active_time, each.status) for each in log.open_alerts()] == [(900.0, "pending")]
    assert len(log.alerts()) == 2


@pytest.mark.parametrize("late", [pending(), alert(), resolved()])
def test_what_was_recorded_before_changes_nothing(log: AlertLog, outbox: Outbox, late: Alert) -> None:
    first, second = told(alert()), told(resolved())
    log.record([change(pending()), change(alert()), change(resolved())], [first, second])
    (before,) = log.alerts()
    again = [told(late)] if late.status is not AlertStatus.PENDING else []
    log.record([change(late)], again)
    assert log.alerts() == (before,)
    assert [each.webhook_id for each in outbox.due("pager", 2e6, 9)] == [first.webhook_id]
    assert outbox.depth() == 2


def test_a_repetition_after_the_delivery_sends_nothing_again(log: AlertLog, outbox: Outbox) -> None:
    log.record([change(alert())], [told(alert())])
    outbox.finish([done(each) for each in outbox.due("pager", 2e6, 9)])
    log.record([change(alert()), change(resolved())], [told(alert()), told(resolved())])
    assert [each.alert.status for each in outbox.due("pager", 2e6, 9)] == ["resolved"]


def test_nothing_is_kept_of_a_transaction_that_fails(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path / 'full.db'}") as database:
        with database.engine.connect() as connection:
            pages = connection.scalar(text("PRAGMA page_count"))
        with database.engine.connect() as connection:
            connection.execute(text(f"PRAGMA max_page_count = {pages + 4}"))
        log, outbox = AlertLog(database), Outbox(database)
        many = [alert(str(number), annotations={"text": "x" * 500}) for number in range(200)]
        with pytest.raises(StorageFailed, match="the disk is full"):
            log.record([change(each) for each in many], [told(each) for each in many], evaluated_time=1.0)
        assert (log.open_alerts(), log.last_heartbeat(), outbox.depth()) == ((), None, 0)
        with database.engine.connect() as connection:
            connection.execute(text(f"PRAGMA max_page_count = {pages + 10_000}"))
        log.record([change(each) for each in many], [told(each) for each in many], evaluated_time=1.0)
        assert (len(log.open_alerts()), log.last_heartbeat(), outbox.depth()) == (200, 1.0, 200)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_taken_away_is_said_and_works_when_it_is_back(tmp_path: Path, replaced: bool) -> None:
    path, aside = tmp_path / "agent.db", tmp_path / "aside.db"
    with open_database(f"sqlite:///{path}") as database:
        log = AlertLog(database)
        path.rename(aside)
        if replaced:
            path.touch()
        said = f"{path}: was removed or replaced while it was open; put the file back"
        with pytest.raises(StorageFailed, match=re.escape(said)):
            log.open_alerts()
        with pytest.raises(StorageFailed, match=re.escape(said)), database.changing():
            pass
        aside.replace(path)
        assert list(log.open_alerts()) == []


def test_a_locked_database_is_said_and_works_when_it_is_free(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'locked.db'}"
    with open_database(url, busy_timeout_seconds=0.01) as database, open_database(url) as other:
        log = AlertLog(database)
        with other.writing() as session:
            session.execute(text("SELECT 1"))
            with pytest.raises(StorageFailed, match="is locked by another process"):
                log.record([change(alert())])
        log.record([change(alert())])
        assert len(log.open_alerts()) == 1


def test_the_heartbeat_is_the_last_evaluation(log: AlertLog) -> None:
    assert log.last_heartbeat() is None
    log.heartbeat(5.0)
    log.record([change(alert())], evaluated_time=7.5)
    assert log.last_heartbeat() == 7.5
    log.record([change(resolved())])
    assert log.last_heartbeat() == 7.5


def test_agents_share_a_database_and_each_has_its_own_alerts(database: Database, clock: FakeClock) -> None:
    one, other = (AlertLog(database, clock=clock, agent=name) for name in ("node-1", "node-2"))
    one.record([change(alert())], [told(alert())], evaluated_time=1.0)
    other.record([change(pending())], evaluated_time=2.0)
    assert [each.status for each in one.open_alerts()] == ["firing"]
    assert [each.status for each in other.open_alerts()] == ["pending"]
    assert (one.last_heartbeat(), other.last_heartbeat()) == (1.0, 2.0)
    assert Outbox(database, agent="node-2").due("pager", 2e6, 9) == ()
    assert {each.agent for each in one.alerts()} == {"node-1", "node-2"}


def test_the_only_agent_of_a_file_keeps_its_alerts_under_another_host_name(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "pod-1")
    AlertLog(database).record([change(alert())])
    monkeypatch.setattr("socket.gethostname", lambda: "pod-2")
    assert len(AlertLog(database).open_alerts()) == (1 if database.is_sqlite else 0)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["c", "b", "a"]),
        ({"status": AlertStatus.FIRING}, ["b"]),
        ({"rule": "Slow"}, ["c"]),
        ({"since": 20.0}, ["c", "b"]),
        ({"limit": 1}, ["c"]),
        ({"rule": "None"}, []),
    ],
)
def test_alerts_are_listed_the_newest_change_first(log: AlertLog, asked: dict, found: list[str]) -> None:  # type: ignore[type-arg]
    log.record([change(resolved("a"), 10.0), change(alert("b"), 20.0)])
    log.record([change(pending("c", rule="Slow"), 30.0)])
    assert [each.alert.fingerprint for each in log.alerts(**asked)] == found


def test_an_alert_is_shown_with_every_try(log: AlertLog, outbox: Outbox) -> None:
    log.record([change(alert("ab12"))], [told(alert("ab12")), told(alert("ab12"), "chat")])
    (one,) = outbox.due("pager", 2e6, 9)
    outbox.finish([done(one, next_time=5.0, status=503, detail="busy")])
    outbox.finish([done(one)])
    (listed,) = log.alerts()
    for key in ("ab12", str(listed.id)):
        shown = log.show(key)
        assert shown is not None
        assert (shown.id, shown.agent, shown.alert) == (listed.id, "node-1", alert("ab12"))
        pager, chat = shown.notifications
        assert (pager[0].receiver, pager[0].outcome, pager[0].attempts) == ("pager", "delivered", 2)
        assert [(each.outcome, each.status, each.detail) for each in pager[1]] == [
            ("retry", 503, "busy"),
            ("delivered", 200, ""),
        ]
        assert (chat[0].outcome, chat[1]) == ("waiting", ())
    assert log.show("99") is None
    assert log.show("no such") is None


def test_a_fingerprint_of_digits_alone_is_no_number(log: AlertLog) -> None:
    log.record([change(alert("1234567890123456"))])
    assert log.show("1234567890123456") is not None


def test_alerts_that_ended_long_ago_are_deleted_a_step_at_a_time(
    log: AlertLog, outbox: Outbox, clock: FakeClock
) -> None:
    start = clock.now
    sent, unsent = resolved("sent"), resolved("unsent")
    log.record([change(sent, start), change(unsent, start)], [told(sent), told(unsent)])
    log.record([change(alert("firing"), start), change(alert("dropped", AlertStatus.DROPPED), start)])
    log.record([change(resolved(f"old {number}"), start) for number in range(600)])
    outbox.finish([done(each) for each in outbox.due("pager", 2e6, 9) if each.alert == sent])
    assert log.prune() == 0
    clock.sleep(2 * DAY)
    assert (log.prune(), log.prune()) == (1, 0)
    clock.sleep(30 * DAY)
    assert (log.prune(), log.prune(), log.prune()) == (500, 101, 0)
    assert {each.alert.fingerprint for each in log.alerts()} == {"unsent", "firing"}
    assert outbox.depth() == 1


def test_a_document_gives_the_alert_back() -> None:
    one = resolved(value=math.inf)
    assert alert_of_document(alert_document(one)) == one


def test_thousands_of_changes_at_once(log: AlertLog, outbox: Outbox) -> None:
    many = [alert(f"{number:05}") for number in range(2000)]
    log.record([change(each) for each in many], [told(each) for each in many], evaluated_time=1.0)
    over = [resolved(each.fingerprint) for each in many]
    log.record([change(each) for each in over], [told(each) for each in over], evaluated_time=2.0)
    assert outbox.depth() == 4000
    first = outbox.due("pager", 2e6, 5000)
    assert [each.alert for each in first] == many
    outbox.finish([done(each) for each in first])
    assert [each.alert for each in outbox.due("pager", 2e6, 5000)] == over
