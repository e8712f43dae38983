"""The outbox: in order for each alert, bounded, and nothing lost by a receiver or a clock that is away."""

from pathlib import Path

import pytest
from tests.history.alert_fakes import alert, change, done, resolved, told
from tests.history.fakes import FakeClock

from flyball.database import Database, open_database
from flyball.history.alert_log import AlertLog
from flyball.history.alert_records import Alert, Finished, Mute, Notification, Outcome
from flyball.history.outbox import Outbox
from flyball.history.outbox_queue import MOST_TRIES


@pytest.fixture
def outbox(database: Database, clock: FakeClock) -> Outbox:
    return Outbox(database, clock=clock, agent="node-1")


def raise_alerts(database: Database, *alerts: Alert, most: int = 1000, receivers: str = "pager") -> None:
    """Record alerts as they change, and tell each receiver."""
    log = AlertLog(database, clock=FakeClock(), agent="node-1", max_waiting=most)
    for each in alerts:
        log.record([change(each)], [told(each, receiver) for receiver in receivers.split()])


def due(outbox: Outbox, receiver: str = "pager", now: float = 1_000_000.0) -> list[tuple[str, str]]:
    return [
        (each.alert.fingerprint, str(each.alert.status)) for each in outbox.due(receiver, now=now, limit=100)
    ]


def head(outbox: Outbox, receiver: str = "pager", now: float = 1_000_000.0) -> Notification:
    return outbox.due(receiver, now=now, limit=1)[0]


def outcomes(database: Database, fingerprint: str = "a") -> list[str]:
    """What became of all that was to be told, the oldest first."""
    log = AlertLog(database, agent="node-1")
    numbers = [each.id for each in log.alerts() if each.alert.fingerprint == fingerprint]
    shown = [log.show(str(number)) for number in sorted(numbers)]
    return [str(one.outcome) for each in shown if each for one, _ in each.notifications]


def episodes(count: int) -> list[Alert]:
    """An alert that comes and goes."""
    times = [100.0 + 1000 * number for number in range(count)]
    return [each for time in times for each in (alert(active_time=time), resolved(active_time=time))]


def test_of_each_alert_only_the_oldest_unfinished_is_due(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert("a"), alert("b"), resolved("a"), alert("a", active_time=900.0))
    assert due(outbox) == [("a", "firing"), ("b", "firing")]
    outbox.finish([done(head(outbox), next_time=1_000_005.0)])
    assert due(outbox) == [("b", "firing")]
    assert due(outbox, now=1_000_005.0) == [("b", "firing"), ("a", "firing")]
    outbox.finish([done(each) for each in outbox.due("pager", 1_000_005.0, 9)])
    assert due(outbox) == [("a", "resolved")]
    outbox.finish([done(head(outbox))])
    assert due(outbox) == [("a", "firing")]
    assert head(outbox).alert.active_time == 900.0


def test_each_receiver_has_its_own_queue_and_its_own_ids(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert(), receivers="pager chat")
    pager, chat = head(outbox), head(outbox, "chat")
    assert pager.webhook_id != chat.webhook_id
    outbox.finish([done(pager)])
    assert (due(outbox), due(outbox, "chat")) == ([], [("a", "firing")])


def test_a_try_keeps_the_webhook_id_and_is_counted(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert())
    first = head(outbox)
    outbox.finish([done(first, next_time=1_000_009.0)])
    again = head(outbox, now=1_000_009.0)
    assert (again.webhook_id, again.attempts, again.next_time) == (first.webhook_id, 1, 1_000_009.0)


def test_the_next_due_time_is_the_earliest(database: Database, outbox: Outbox) -> None:
    assert outbox.next_due("pager", 0.0) is None
    raise_alerts(database, alert("a"), alert("b"))
    for each, later in zip(outbox.due("pager", 1_000_000.0, 9), (50.0, 20.0), strict=True):
        outbox.finish([done(each, next_time=1_000_000.0 + later)])
    assert outbox.next_due("pager", 1_000_000.0) == 1_000_020.0
    assert outbox.next_due("pager", 1_000_020.0) == 1_000_050.0
    assert outbox.receivers() == ("pager",)


def test_a_clock_that_was_set_back_parks_nothing(
    database: Database, outbox: Outbox, clock: FakeClock
) -> None:
    raise_alerts(database, alert())
    outbox.finish([done(head(outbox), next_time=clock.now + 30)])
    assert due(outbox, now=clock.now + 29) == []
    assert due(outbox, now=clock.now - 7200) == [("a", "firing")]


def test_a_receiver_that_answers_again_gets_all_that_waits(
    database: Database, outbox: Outbox, clock: FakeClock
) -> None:
    raise_alerts(database, alert("a"), alert("b"), resolved("b"))
    for each in outbox.due("pager", clock.now, 9):
        outbox.finish([done(each, next_time=clock.now + 300)])
    assert due(outbox) == []
    outbox.hasten("pager")
    assert due(outbox) == [("a", "firing"), ("b", "firing")]


def test_a_resolved_alert_says_whether_its_receiver_heard_that_it_fired(
    database: Database, outbox: Outbox
) -> None:
    raise_alerts(database, alert("heard"), alert("tried"), alert("muted"))
    heard, tried, muted = outbox.due("pager", 1_000_000.0, 9)
    outbox.finish([done(heard), done(tried, next_time=1_000_000.0)])
    outbox.finish([Finished(webhook_id=tried.webhook_id, outcome=Outcome.GIVEN_UP)])
    outbox.finish([Finished(webhook_id=muted.webhook_id, outcome=Outcome.MUTED)])
    raise_alerts(database, resolved("heard"), resolved("tried"), resolved("muted"), resolved("never"))
    found = {each.alert.fingerprint: each.told for each in outbox.due("pager", 1_000_000.0, 9)}
    assert found == {"heard": True, "tried": True, "muted": False, "never": False}


def test_when_it_is_full_finished_alerts_in_the_middle_give_way(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, *episodes(4), most=6)
    assert outbox.depth() == 6
    assert outcomes(database) == ["waiting"] * 2 + ["superseded"] * 2 + ["waiting"] * 4
    raise_alerts(database, alert("b"), most=6)
    assert outcomes(database) == ["waiting"] * 2 + ["superseded"] * 4 + ["waiting"] * 2
    assert outcomes(database, "b") == ["waiting"]
    outbox.finish([done(head(outbox))])
    outbox.finish([done(each) for each in outbox.due("pager", 2e6, 9)])
    assert due(outbox) == [("a", "firing")]
    assert head(outbox).alert.active_time == 3100.0


def test_what_finds_no_room_is_written_down_and_its_end_too(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert("a"), alert("b"), alert("c"), most=4)
    assert [outcomes(database, name) for name in "abc"] == [["waiting"], ["waiting"], ["overflow"]]
    raise_alerts(database, *map(resolved, "abc"), most=4)
    assert outbox.depth() == 4
    assert outcomes(database, "c") == ["overflow", "overflow"]
    assert outcomes(database, "a") == ["waiting", "waiting"]


def test_the_bound_holds_for_a_flood_in_one_transaction(database: Database, outbox: Outbox) -> None:
    log = AlertLog(database, clock=FakeClock(), agent="node-1", max_waiting=100)
    flood = [alert(f"{number}") for number in range(300)]
    did = log.record([change(each) for each in flood], [told(each) for each in flood])
    assert (did.added, did.overflow, did.superseded) == (300, 250, 0)
    over = [resolved(each.fingerprint) for each in flood]
    log.record([change(each) for each in over], [told(each) for each in over])
    assert outbox.depth() == 100
    assert len(log.alerts()) == 300


def test_the_bound_holds_where_some_alerts_end_as_others_begin(database: Database, outbox: Outbox) -> None:
    log = AlertLog(database, clock=FakeClock(), agent="node-1", max_waiting=6)
    first = [alert(name) for name in "abc"]
    log.record([change(each) for each in first], [told(each) for each in first])
    both = [*map(resolved, "abc"), *map(alert, "defg")]
    log.record([change(each) for each in both], [told(each) for each in both])
    assert outbox.depth() == 6
    assert [outcomes(database, name)[-1] for name in "ad"] == ["waiting", "overflow"]


def test_what_is_kept_for_a_disabled_receiver_is_bounded_too(database: Database, outbox: Outbox) -> None:
    outbox.disable("pager", "410 Gone")
    raise_alerts(database, *episodes(4), alert("b"), alert("c"), most=6)
    assert outcomes(database) == ["superseded"] * 6 + ["disabled"] * 2
    assert [outcomes(database, name) for name in "bc"] == [["disabled"], ["disabled"]]
    assert outbox.enable("pager")
    assert outbox.depth() == 4


def test_what_a_receiver_may_have_heard_of_never_gives_way(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert("a"), most=4)
    outbox.finish([done(head(outbox), next_time=1_000_030.0)])
    outbox.disable("pager", "410 Gone")
    raise_alerts(database, resolved("a"), alert("b"), alert("c"), most=4)
    assert outcomes(database, "a") == ["disabled", "disabled"]
    assert outcomes(database, "c") == ["overflow"]


def test_a_receiver_that_is_gone_gets_nothing_and_everything_when_it_is_enabled(
    database: Database, outbox: Outbox, clock: FakeClock
) -> None:
    raise_alerts(database, alert("a"), alert("b"), receivers="pager chat")
    outbox.disable("pager", "410 Gone")
    raise_alerts(database, resolved("a"))
    assert due(outbox) == []
    assert due(outbox, "chat") == [("a", "firing"), ("b", "firing")]
    assert outbox.next_due("pager", 0.0) is None
    assert outbox.receivers() == ("chat", "pager")
    (gone,) = outbox.disabled()
    assert (gone.name, gone.disabled_time, gone.reason) == ("pager", clock.now, "410 Gone")
    clock.now += 60
    outbox.disable("pager", "once more")
    assert outbox.disabled() == (gone,), "since it was first"
    assert outbox.enable("pager") == gone.disabled_time
    assert outbox.enable("pager") is None
    assert outbox.disabled() == ()
    assert due(outbox) == [("a", "firing"), ("b", "firing")]
    outbox.finish([done(head(outbox))])
    assert due(outbox) == [("b", "firing"), ("a", "resolved")]


def test_the_ends_that_a_receiver_did_not_hear_of(database: Database, outbox: Outbox) -> None:
    """a: heard, and its end not; b: both; c: never; d: fires on; e: there was no room; f: ended before."""
    raise_alerts(database, *map(alert, "abdf"))
    raise_alerts(database, alert("c"), resolved("c"), receivers="chat")
    raise_alerts(database, resolved("b"))
    alerts = AlertLog(database, agent="node-1")
    crowded = AlertLog(database, agent="node-1", max_waiting=1)
    crowded.record([change(alert("e"))], [told(alert("e"))])
    alerts.record([change(resolved(name)) for name in "ae"] + [change(resolved("f"), 999_000.0)])
    assert [each.fingerprint for each in outbox.ends_unheard("pager", 999_001.0)] == ["a"]
    assert outbox.ends_unheard("chat", 0.0) == ()


def test_what_was_under_way_when_its_receiver_was_disabled_counts(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert("a"), alert("b"))
    arrived, failed = outbox.due("pager", 1_000_000.0, 9)
    outbox.disable("pager", "410 Gone")
    outbox.finish([done(arrived), done(failed, next_time=1_000_010.0)])
    assert (outcomes(database, "a"), outcomes(database, "b")) == (["delivered"], ["disabled"])


def test_a_replay_sends_the_same_ids_again_in_order(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert(), resolved(), receivers="pager chat")
    sent = []
    for receiver in ("pager", "chat", "pager", "chat"):
        sent.append(head(outbox, receiver))
        outbox.finish([done(sent[-1])])
    (logged,) = AlertLog(database, agent="node-1").alerts()
    raise_alerts(database, alert(active_time=900.0))
    assert head(outbox).alert.active_time == 900.0
    assert outbox.requeue(logged.id) == 4
    assert due(outbox) == [("a", "firing")]
    again = []
    for _ in range(3):
        again.append(head(outbox))
        outbox.finish([done(again[-1])])
    assert [each.webhook_id for each in again[:2]] == [sent[0].webhook_id, sent[2].webhook_id]
    assert again[2].alert.active_time == 900.0
    assert outbox.requeue(logged.id, receiver="pager") == 2
    assert outbox.requeue(77) == 0


def test_the_end_of_a_mute_tells_what_still_fires(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert("a"), alert("b"), alert("c"))
    outbox.finish(
        [
            Finished(webhook_id=each.webhook_id, outcome=Outcome.MUTED)
            for each in outbox.due("pager", 1_000_000.0, 9)
        ]
    )
    raise_alerts(database, resolved("b"))
    still = Mute(matchers={"gpu": "c"}, created_time=0.0, until_time=None)
    assert outbox.unmute([still]) == 1
    assert due(outbox) == [("a", "firing"), ("b", "resolved")]


def test_the_tries_kept_of_one_notification_are_bounded(database: Database, outbox: Outbox) -> None:
    raise_alerts(database, alert())
    one = head(outbox)
    for number in range(MOST_TRIES + 20):
        outbox.finish([done(one, next_time=1.0, detail=str(number))])
    shown = AlertLog(database).show("a")
    assert shown is not None
    ((after, tries),) = shown.notifications
    assert after.attempts == MOST_TRIES + 20
    assert [tries[0].detail, tries[-1].detail, len(tries)] == ["20", "119", MOST_TRIES]


def test_another_process_sees_what_waits(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'two.db'}"
    with open_database(url) as one, open_database(url) as other:
        raise_alerts(one, alert())
        assert due(Outbox(other, agent="node-1")) == [("a", "firing")]
