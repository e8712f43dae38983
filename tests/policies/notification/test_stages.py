"""Each stage by itself."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.history.alert_fakes import alert, change, pending, resolved, told
from tests.history.fakes import FakeClock
from tests.policies.notification.fakes import Bench, FakeReceiver, delivering

from flyball.history.alert_records import Alert, AlertStatus, Mute, Outcome
from flyball.policies.notification.backoff import Backoff
from flyball.policies.notification.dedup import Dedup, everything, notifications
from flyball.policies.notification.limit import GiveUp, Rate
from flyball.policies.notification.mute import Muting
from flyball.policies.notification.stage import End, Hold


@pytest.mark.parametrize(
    ("one", "count"),
    [(pending(), 0), (alert(), 2), (resolved(), 2), (alert(status=AlertStatus.DROPPED), 0)],
)
def test_receivers_are_told_of_alerts_that_fire_and_that_are_over(one: Alert, count: int) -> None:
    made = list(notifications([change(one, 5.0)], {"pager": everything, "chat": everything}))
    assert len(made) == len({each.webhook_id for each in made}) == count
    assert all((each.alert, each.created_time) == (one, 5.0) for each in made)


def test_a_receiver_is_told_what_it_wants() -> None:
    wants = {"pager": everything, "chat": lambda each: each.status is AlertStatus.FIRING}
    made = notifications([change(alert()), change(resolved())], wants)
    assert [(each.receiver, str(each.alert.status)) for each in made] == [
        ("pager", "firing"),
        ("chat", "firing"),
        ("pager", "resolved"),
    ]


def test_the_end_of_what_nobody_heard_of_is_not_told() -> None:
    one = told(resolved())
    assert Dedup().judge(one) is None
    assert Dedup().judge(replace(one, told=False)) == End(outcome=Outcome.UNTOLD)


def test_a_mute_ends_what_fires_and_lets_the_end_of_it_pass() -> None:
    stage = Muting()
    stage.mutes = [Mute(matchers={"gpu": "a"}, created_time=0.0, until_time=None)]
    assert stage.judge(told(alert("a"))) == End(outcome=Outcome.MUTED)
    assert stage.judge(told(alert("b"))) is None
    assert stage.judge(told(resolved("a"))) is None


def test_a_rate_says_when_there_is_room_again() -> None:
    clock = FakeClock()
    stage = Rate(2.0, clock)
    assert [stage.judge(told(alert())) for _ in range(3)] == [None, None, Hold(seconds=30.0)]
    clock.sleep(30.0)
    assert stage.judge(told(alert())) is None
    clock.sleep(3600.0)
    assert [stage.judge(told(alert())) is None for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("age", "attempts", "ends"), [(61, 1, True), (59, 1, False), (61, 0, False)])
def test_only_what_was_tried_and_is_old_is_given_up(age: float, attempts: int, ends: bool) -> None:
    clock = FakeClock()
    stage = GiveUp(after_seconds=60.0, clock=clock)
    one = replace(told(alert(), time=clock.now - age), attempts=attempts)
    assert stage.judge(one) == (End(outcome=Outcome.GIVEN_UP) if ends else None)


def test_jitter_is_full_and_its_bound_doubles() -> None:
    bounds: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    backoff = Backoff(draw=draw)
    assert [backoff.seconds(attempts) for attempts in (1, 2, 3, 9, 10, 10_000)] == [0.0] * 6
    assert bounds == [(0.0, high) for high in (1.0, 2.0, 4.0, 256.0, 300.0, 300.0)]
    assert backoff.seconds(1, 7.0) == 7.0
    assert backoff.seconds(1, 1e9) == 3600.0
    assert 150.0 <= Backoff().seldom() <= 300.0


def test_what_is_muted_is_not_sent_until_the_mute_ends_while_it_still_fires(tmp_path: Path) -> None:
    pager = FakeReceiver()

    async def story(bench: Bench) -> None:
        short = bench.mutes.add({"alertname": "GpuHot"}, until_time=bench.clock.now + 60)
        bench.mutes.add({"gpu": "c"}, until_time=None)
        bench.tell(alert("a"), alert("b"), alert("c"))
        await bench.clock.settle()
        bench.tell(resolved("b"))
        await bench.clock.settle()
        assert pager.sent == []
        assert bench.outcomes("b") == ["muted", "untold"]
        assert short.until_time is not None
        await bench.clock.pass_(65.0)
        assert pager.heard() == [("a", "firing")]
        assert bench.tally.notifications["pager", "muted"] == 3

    async def run() -> None:
        async with delivering(tmp_path, pager) as bench:
            await story(bench)

    asyncio.run(run())
