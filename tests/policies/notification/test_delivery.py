"""From the outbox to a receiver: in order, again after a failure, and nothing lost by a stop."""

import asyncio
from pathlib import Path

import pytest
from tests.history.alert_fakes import alert, resolved
from tests.policies.notification.fakes import DOWN, UP, Bench, FakeReceiver, play, target

from flyball.policies.notification.base import Answer, Refused, Retry


def test_what_is_added_is_sent_at_once_and_in_order(tmp_path: Path) -> None:
    pager, chat = FakeReceiver("pager"), FakeReceiver("chat")

    async def story(bench: Bench) -> None:
        bench.tell(alert(), resolved(), receivers=["pager", "chat"])
        await bench.clock.settle()
        assert pager.heard() == chat.heard() == [("a", "firing"), ("a", "resolved")]
        assert bench.clock.now == 1_000_000.0
        assert bench.tally.notifications == {("pager", "delivered"): 2, ("chat", "delivered"): 2}

    play(tmp_path, story, pager, chat)


def test_what_another_process_adds_is_seen_within_seconds(tmp_path: Path) -> None:
    pager = FakeReceiver()

    async def story(bench: Bench) -> None:
        await bench.clock.settle()
        bench.deliverer.wake = lambda: None  # type: ignore[method-assign]
        bench.tell(alert())
        await bench.clock.settle()
        assert pager.heard() == []
        await bench.clock.pass_(5.0)
        assert pager.heard() == [("a", "firing")]

    play(tmp_path, story, pager)


def test_waits_double_up_to_five_minutes_and_never_end(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[DOWN] * 12 + [UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.pass_(1500)
        waits = [after - before for before, after in zip(pager.times, pager.times[1:], strict=False)]
        assert waits[:9] == pytest.approx([1, 2, 4, 8, 16, 32, 64, 128, 256])
        assert waits[9:] == pytest.approx([300] * 3)
        assert len(pager.sent) == 13
        assert {each.webhook_id for each in pager.sent} == {pager.sent[0].webhook_id}
        assert bench.outcomes() == ["delivered"]

    play(tmp_path, story, pager)


def test_while_one_alert_waits_the_others_go_and_its_own_next_does_not(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[DOWN, UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"))
        await bench.clock.settle()
        bench.tell(resolved("a"), alert("b"))
        await bench.clock.settle()
        assert pager.heard() == [("a", "firing"), ("b", "firing")]
        await bench.clock.pass_(1.0)
        assert pager.heard()[2:] == [("a", "firing"), ("a", "resolved")]

    play(tmp_path, story, pager)


def test_a_receiver_that_fails_is_asked_by_one_at_a_time(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[DOWN])

    async def story(bench: Bench) -> None:
        bench.tell(*(alert(f"{number:02}") for number in range(20)))
        await bench.clock.pass_(20.0)
        pager.most_at_once, pager.gate = 0, asyncio.Event()
        await bench.clock.pass_(60.0)
        assert pager.most_at_once == 1

    play(tmp_path, story, pager)


def test_a_receiver_that_is_back_gets_at_once_what_would_have_waited_for_minutes(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[DOWN])

    async def story(bench: Bench) -> None:
        for number in range(20):
            bench.tell(alert(f"{number:02}"))
            await bench.clock.pass_(3.0)
        await bench.clock.pass_(240.0)
        pager.answers, before = [UP], len(pager.sent)
        await bench.clock.pass_(120.0)
        assert bench.outbox.depth() == 0
        assert len(pager.sent) == before + 20
        assert len(set(pager.times[before:])) == 1
        # One line when it failed and one when it was back, whatever the number of tries.
        assert bench.log.events() == [
            "notification not delivered; it will be tried again",
            "receiver takes notifications again",
        ]

    play(tmp_path, story, pager)


def test_what_is_under_way_is_not_sent_once_more(tmp_path: Path) -> None:
    pager = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        for name in "abc":
            bench.tell(alert(name))
            await bench.clock.pass_(6.0)
        assert pager.heard() == [("a", "firing"), ("b", "firing"), ("c", "firing")]

    play(tmp_path, story, pager)


def test_no_more_are_under_way_than_may_be(tmp_path: Path) -> None:
    pager = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        bench.tell(*(alert(f"{number:02}") for number in range(20)))
        await bench.clock.settle()
        assert (pager.at_once, len(pager.sent)) == (3, 3)
        assert pager.gate is not None
        pager.gate.set()
        await bench.clock.settle()
        assert (pager.most_at_once, len(pager.sent)) == (3, 20)

    play(tmp_path, story, pager, most_at_once=3)


@pytest.mark.parametrize(("asked", "waits"), [(None, 1.0), (0.5, 1.0), (90.0, 90.0), (86_400.0, 3600.0)])
def test_retry_after_holds_the_whole_receiver_and_is_bounded(
    tmp_path: Path, asked: float | None, waits: float
) -> None:
    pager = FakeReceiver(answers=[Retry(reason="status", detail="", status=429, after_seconds=asked), UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"))
        await bench.clock.settle()
        await bench.clock.pass_(waits - 0.01)
        assert pager.heard() == [("a", "firing")]
        if asked and asked > 1:
            bench.tell(alert("b"))
            await bench.clock.settle()
            assert pager.heard() == [("a", "firing")]
        await bench.clock.pass_(0.01)
        assert ("a", "firing") in pager.heard()[1:]

    play(tmp_path, story, pager)


def test_what_is_refused_is_tried_again_as_seldom_as_may_be(tmp_path: Path) -> None:
    refused = Refused(reason="status", detail="no such path", status=404)
    pager = FakeReceiver(answers=[refused, refused, UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.pass_(601.0)
        assert [time - 1_000_000.0 for time in pager.times] == [0.0, 300.0, 600.0]
        assert bench.outcomes() == ["delivered"]
        (line, _) = bench.log.lines
        assert line[2] == {
            "receiver": "pager",
            "answer": "refused",
            "reason": "status",
            "detail": "no such path",
        }

    play(tmp_path, story, pager)


@pytest.mark.parametrize("answer", [ValueError("token=a-secret"), RuntimeError("a-secret")])
def test_a_receiver_with_a_fault_is_tried_again_and_its_words_are_not_repeated(
    tmp_path: Path, answer: Exception
) -> None:
    pager = FakeReceiver(answers=[answer, UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.pass_(1.0)
        assert bench.outcomes() == ["delivered"]
        assert type(answer).__name__ in str(bench.log.lines)
        assert "a-secret" not in str(bench.log.lines)
        assert "a-secret" not in str(bench.alerts.show("a"))

    play(tmp_path, story, pager)


def test_a_stop_cancels_what_is_under_way_and_the_next_start_sends_it_with_the_same_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flyball.policies.notification.receiver_loop.GRACE_SECONDS", 0.01)
    slow = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"), alert("b"))
        await bench.clock.settle()
        assert slow.at_once == 2
        await bench.deliverer.stop()
        assert (slow.at_once, slow.closed) == (0, True)
        assert bench.outbox.depth() == 2
        again = FakeReceiver()
        await bench.deliverer.apply([target(again)])
        await bench.clock.settle()
        assert {each.webhook_id for each in again.sent} == {each.webhook_id for each in slow.sent}
        assert bench.outbox.depth() == 0

    play(tmp_path, story, slow)


def test_what_ends_while_it_stops_is_written_down(tmp_path: Path) -> None:
    pager = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.settle()
        assert pager.gate is not None
        asyncio.get_running_loop().call_soon(pager.gate.set)
        await bench.deliverer.stop()
        assert bench.outcomes() == ["delivered"]

    play(tmp_path, story, pager)


def test_a_stop_does_not_wait_for_a_database_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("GRACE_SECONDS", "_LAST_WRITE_SECONDS"):
        monkeypatch.setattr(f"flyball.policies.notification.receiver_loop.{name}", 0.01)
    pager = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.settle()
        bench.storage_hangs = True
        assert pager.gate is not None
        pager.gate.set()
        await bench.clock.settle()
        await bench.deliverer.stop()
        assert bench.outbox.depth() == 1
        assert pager.closed

    play(tmp_path, story, pager)


def test_a_database_that_fails_is_said_once_and_nothing_is_sent_twice_for_it(tmp_path: Path) -> None:
    pager = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"), alert("b"))
        await bench.clock.settle()
        bench.storage_fails = True
        assert pager.gate is not None
        pager.gate.set()
        await bench.clock.pass_(60.0)
        assert bench.log.events() == ["notifications wait for the database"]
        assert bench.log.lines[0][2]["reason"] == "agent.db: is locked by another process"
        assert bench.tally.storage_failures > 10
        bench.storage_fails = False
        await bench.clock.pass_(2.0)
        assert pager.heard() == [("a", "firing"), ("b", "firing")]
        assert bench.outbox.depth() == 0

    play(tmp_path, story, pager)


def test_a_clock_that_is_set_back_for_hours_delays_nothing(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[DOWN, UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.settle()
        bench.clock.set_by -= 4 * 3600.0
        await bench.clock.pass_(6.0)
        assert bench.outcomes() == ["delivered"]

    play(tmp_path, story, pager)


def test_the_depth_is_counted(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[DOWN])

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"), resolved("a"), alert("b"))
        await bench.clock.pass_(6.0)
        assert bench.tally.outbox_depth == 3

    play(tmp_path, story, pager)


def test_old_alerts_are_deleted_while_it_runs(tmp_path: Path) -> None:
    async def story(bench: Bench) -> None:
        bench.tell(alert(), resolved())
        await bench.clock.settle()
        bench.clock.set_by += 31 * 86400.0
        await bench.clock.pass_(120.0)
        assert bench.alerts.alerts() == ()

    play(tmp_path, story, FakeReceiver())


@pytest.mark.parametrize(("answers", "outcome"), [([DOWN], "given_up"), ([DOWN, DOWN, UP], "delivered")])
def test_what_is_too_old_is_given_up_where_that_is_wanted(
    tmp_path: Path, answers: list[Answer | Exception], outcome: str
) -> None:
    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.pass_(120.0)
        assert bench.outcomes() == [outcome]

    play(tmp_path, story, FakeReceiver(answers=answers), give_up_after_seconds=30.0)


def test_a_rate_is_kept(tmp_path: Path) -> None:
    pager = FakeReceiver()

    async def story(bench: Bench) -> None:
        bench.tell(*(alert(f"{number:02}") for number in range(10)))
        await bench.clock.settle()
        assert len(pager.sent) == 6
        await bench.clock.pass_(20.0)
        assert len(pager.sent) == 8
        await bench.clock.pass_(20.0)
        assert len(pager.sent) == 10

    play(tmp_path, story, pager, most_per_minute=6)
