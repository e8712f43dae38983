"""Receivers that are disabled, taken out, new or back: what is kept for them, and what they are told."""

import asyncio
from pathlib import Path

import pytest
from tests.history.alert_fakes import alert, resolved
from tests.policies.notification.fakes import DOWN, UP, Bench, FakeReceiver, play, target

from flyball.policies.notification.base import Gone
from flyball.policies.notification.deliverer import Target


def test_gone_disables_the_receiver_until_a_reload_and_keeps_what_comes(tmp_path: Path) -> None:
    pager = FakeReceiver(answers=[Gone(detail="no longer", status=410), UP])

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.settle()
        bench.tell(resolved())
        await bench.clock.pass_(600.0)
        assert pager.heard() == [("a", "firing")]
        assert bench.outcomes() == ["disabled", "disabled"]
        assert [each.reason for each in bench.outbox.disabled()] == ["no longer"]
        assert len(bench.log.events()) == 1
        await bench.deliverer.apply([target(pager)])
        await bench.clock.settle()
        assert pager.heard()[1:] == [("a", "firing"), ("a", "resolved")]
        assert bench.outbox.disabled() == ()

    play(tmp_path, story, pager)


def test_what_waits_for_a_receiver_that_was_taken_out_is_kept_until_it_is_back(tmp_path: Path) -> None:
    pager, chat = FakeReceiver("pager", answers=[DOWN]), FakeReceiver("chat")

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.settle()
        await bench.deliverer.apply([target(chat)])
        assert pager.closed
        assert list(bench.deliverer.receivers) == ["chat"]
        await bench.clock.settle()
        assert bench.outcomes() == ["disabled", "delivered"]
        pager.answers = [UP]
        await bench.deliverer.apply([target(chat), target(pager)])
        await bench.clock.settle()
        assert bench.outcomes() == ["delivered", "delivered"]

    play(tmp_path, story, pager, chat)


@pytest.mark.parametrize("again", [False, True], ids=["reload", "restart"])
def test_a_receiver_that_comes_back_is_told_what_ended_of_what_it_was_told(
    tmp_path: Path, again: bool
) -> None:
    pager, chat = FakeReceiver("pager"), FakeReceiver("chat")

    async def take_over(bench: Bench, *receivers: FakeReceiver) -> None:
        if again:
            await bench.restart()
        await bench.deliverer.apply([target(each) for each in receivers])
        await bench.clock.settle()

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"), alert("b"), alert("c"), resolved("c"))
        await bench.clock.settle()
        await take_over(bench, chat)
        bench.tell(resolved("a"), alert("d"), resolved("d"), receivers=["chat"])
        bench.clock.set_by += 86_400.0
        await bench.clock.pass_(60.0)
        await take_over(bench, chat)
        bench.tell(alert("a", active_time=5000.0), receivers=["chat"])
        await take_over(bench, chat, pager)
        assert pager.heard()[4:] == [("a", "resolved"), ("a", "firing")]
        assert pager.sent[4].alert.resolved_time == resolved("a").resolved_time
        await take_over(bench, chat, pager)
        assert len(pager.sent) == 6

    play(tmp_path, story, pager)


def test_one_that_heard_nothing_before_it_was_taken_out_hears_of_no_end(tmp_path: Path) -> None:
    pager, chat = FakeReceiver("pager"), FakeReceiver("chat")

    async def story(bench: Bench) -> None:
        bench.mutes.add({"gpu": "a"}, until_time=None)
        await bench.clock.pass_(5)
        bench.tell(alert("a"))
        await bench.clock.settle()
        await bench.deliverer.apply([target(chat)])
        bench.tell(resolved("a"), receivers=["chat"])
        await bench.deliverer.apply([target(pager)])
        await bench.clock.settle()
        assert pager.sent == []

    play(tmp_path, story, pager)


def test_ends_that_a_receiver_did_not_want_while_it_was_there_are_not_told_later(tmp_path: Path) -> None:
    pager = FakeReceiver("pager")

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"))
        bench.tell(resolved("a"), receivers=[])
        await bench.deliverer.apply([target(pager)])
        await bench.clock.settle()
        assert pager.heard() == [("a", "firing")]

    play(tmp_path, story, pager)


def test_a_receiver_that_is_new_is_told_what_fires_and_the_others_are_not_told_again(tmp_path: Path) -> None:
    pager, chat = FakeReceiver("pager"), FakeReceiver("chat")

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"), alert("b"), resolved("b"))
        await bench.clock.settle()
        await bench.deliverer.apply([target(pager), target(chat)])
        await bench.clock.settle()
        assert chat.heard() == [("a", "firing")]
        assert len(pager.sent) == 3

    play(tmp_path, story, pager)


def test_a_receiver_that_is_new_is_not_told_what_it_does_not_want(tmp_path: Path) -> None:
    pager, chat = FakeReceiver("pager"), FakeReceiver("chat")

    async def story(bench: Bench) -> None:
        bench.tell(alert("a"), alert("b"))
        only_b = Target(receiver=chat, wants=lambda each: each.fingerprint == "b")
        await bench.deliverer.apply([target(pager), only_b])
        await bench.clock.settle()
        assert chat.heard() == [("b", "firing")]

    play(tmp_path, story, pager)


def test_what_is_recorded_during_a_reload_is_for_the_new_receivers(tmp_path: Path) -> None:
    pager = FakeReceiver(gate=asyncio.Event())

    async def story(bench: Bench) -> None:
        bench.tell(alert())
        await bench.clock.settle()
        applying = asyncio.ensure_future(bench.deliverer.apply([target(pager), target(FakeReceiver("chat"))]))
        await bench.clock.settle()
        assert list(bench.deliverer.receivers) == ["pager", "chat"]
        assert pager.gate is not None
        pager.gate.set()
        await applying

    play(tmp_path, story, pager)
