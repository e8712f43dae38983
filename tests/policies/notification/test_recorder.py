"""What the engine found is recorded in order, and kept in memory while the database takes nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.history.alert_fakes import alert, change, pending, resolved
from tests.policies.engine_bench import GAUGE, rule, run_info, sample
from tests.policies.notification.fakes import Bench, FakeReceiver, delivering

from flyball.database import open_database
from flyball.history.alert_records import Alert
from flyball.policies.engine import Engine
from flyball.policies.notification.recorder import Recorder
from flyball.policies.rule import Comparison

Story = Callable[[Bench, Recorder], Awaitable[None]]


def play(folder: Path, story: Story, *receivers: FakeReceiver, most: int = 1000) -> None:
    """Run a story over a recorder before a chain."""

    async def run() -> None:
        async with delivering(folder, *receivers) as bench:
            recorder = Recorder(
                bench.alerts,
                receivers=lambda: bench.deliverer.receivers,
                added=lambda: bench.deliverer.wake(),
                run=bench.run,
                log=bench.log,
                tally=bench.tally,
                clock=bench.clock,
                pause=bench.clock.pause,
                most_unrecorded=most,
            )
            recorder.start()
            await story(bench, recorder)
            await recorder.stop()

    asyncio.run(run())


def submit(recorder: Recorder, *alerts: Alert, time: float = 1.0) -> None:
    recorder.submit([change(each) for each in alerts], evaluated_time=time)


def test_what_is_found_is_recorded_and_sent_at_once(tmp_path: Path) -> None:
    pager = FakeReceiver()

    async def story(bench: Bench, recorder: Recorder) -> None:
        submit(recorder, pending("a"), pending("b"))
        submit(recorder, alert("a"), time=2.0)
        await bench.clock.settle()
        assert pager.heard() == [("a", "firing")]
        assert [str(each.status) for each in bench.alerts.open_alerts()] == ["firing", "pending"]
        assert bench.alerts.last_heartbeat() == 2.0
        assert pager.sent[0].webhook_id.startswith("msg_")

    play(tmp_path, story, pager)


def test_without_a_receiver_alerts_are_recorded(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        submit(recorder, alert())
        await bench.clock.settle()
        assert (len(bench.alerts.open_alerts()), bench.outbox.depth()) == (1, 0)

    play(tmp_path, story)


def test_what_cannot_be_recorded_is_kept_in_order_and_told_when_it_can(tmp_path: Path) -> None:
    pager = FakeReceiver()

    async def story(bench: Bench, recorder: Recorder) -> None:
        bench.storage_fails = True
        for time, each in enumerate([pending(), alert(), resolved(), alert(active_time=900.0)]):
            submit(recorder, each, time=float(time))
            await bench.clock.pass_(20.0)
        assert (bench.tally.unrecorded, pager.sent) == (4, [])
        assert bench.tally.failing == {"recorder", "receiver pager"}
        bench.storage_fails = False
        await bench.clock.pass_(2.0)
        assert pager.heard() == [("a", "firing"), ("a", "resolved"), ("a", "firing")]
        assert (bench.tally.unrecorded, bench.tally.lost, bench.tally.failing) == (0, 0, set())
        assert bench.alerts.last_heartbeat() == 3.0
        said = [line for line in bench.log.events() if line.startswith("alerts")]
        assert said == ["alerts cannot be recorded; they are kept in memory", "alerts are recorded again"]

    play(tmp_path, story, pager)


def test_what_is_kept_in_memory_is_bounded_and_the_loss_is_counted(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        bench.storage_fails = True
        submit(recorder, *(alert(name) for name in "abcde"))
        await bench.clock.settle()
        assert (bench.tally.unrecorded, bench.tally.lost) == (3, 2)
        bench.storage_fails = False
        await bench.clock.pass_(2.0)
        assert [each.fingerprint for each in bench.alerts.open_alerts()] == ["a", "b", "c"]

    play(tmp_path, story, most=3)


def test_more_than_one_transaction_holds_is_recorded_whole(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        submit(recorder, *(alert(f"{number}") for number in range(4500)))
        await bench.clock.settle()
        assert len(bench.alerts.open_alerts()) == 4500
        assert bench.alerts.last_heartbeat() == 1.0

    play(tmp_path, story, most=10_000)


def test_evaluations_that_change_nothing_are_written_down_now_and_then(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        for time in range(24):
            submit(recorder, time=float(time))
            await bench.clock.pass_(1.0)
        assert bench.alerts.last_heartbeat() == 19.0

    play(tmp_path, story)


def test_whenever_it_is_killed_a_pending_alert_has_lost_three_seconds_of_its_for_at_most(
    tmp_path: Path,
) -> None:
    subject = rule(comparison=Comparison.ABOVE, threshold=5.0, for_seconds=60.0)
    series = [sample(GAUGE, 9.0), run_info(subject.phase or "stepping")]

    async def story(bench: Bench, recorder: Recorder) -> None:
        engine = Engine([subject])
        lost = []
        for _ in range(28):
            engine.observe("workload", bench.clock.now, series)
            found = engine.evaluate(bench.clock.now)
            recorder.submit(found, evaluated_time=bench.clock.now, is_pending=True)
            await bench.clock.pass_(0.999)
            # It is killed here, and the next process begins at once.
            last = bench.alerts.last_heartbeat()
            assert last is not None
            restarted = Engine([subject])
            down = bench.clock.now - last
            restarted.restore(bench.alerts.open_alerts(), now=bench.clock.now, down_seconds=down)
            (went_on,), (goes_on,) = restarted.active(), engine.active()
            lost.append(went_on.active_time - goes_on.active_time)
            await bench.clock.pass_(0.001)
        assert 1.0 < max(lost) < 3.0, "a round that is under way comes on top"

    play(tmp_path, story)


def test_a_stop_records_what_is_left(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        await bench.clock.settle()
        submit(recorder, alert())
        await recorder.stop()
        assert len(bench.alerts.open_alerts()) == 1

    play(tmp_path, story)


def test_a_stop_with_a_dead_database_ends(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        bench.storage_fails = True
        submit(recorder, alert())
        await bench.clock.settle()
        await recorder.stop()
        assert bench.tally.unrecorded == 1

    play(tmp_path, story)


def test_an_outbox_that_is_full_is_said_once_and_counted(tmp_path: Path) -> None:
    async def story(bench: Bench, recorder: Recorder) -> None:
        bench.alerts._max_waiting = 4
        submit(recorder, *(alert(name) for name in "abcd"))
        await bench.clock.settle()
        submit(recorder, alert("e"))
        await bench.clock.settle()
        assert bench.tally.overflow >= 2
        assert sum("outbox is full" in line for line in bench.log.events()) == 1

    play(tmp_path, story, FakeReceiver(gate=asyncio.Event()))


@pytest.mark.parametrize("fault", ["full", "locked"])
def test_a_disk_that_is_full_and_a_database_that_is_locked(tmp_path: Path, fault: str) -> None:
    pager = FakeReceiver()

    async def story(bench: Bench, recorder: Recorder) -> None:
        many = [alert(f"{number}", annotations={"text": "x" * 500}) for number in range(300)]
        with open_database(f"sqlite:///{tmp_path / 'agent.db'}") as other:
            if fault == "locked":
                with other.writing() as session:
                    session.execute(text("SELECT 1"))
                    submit(recorder, *many)
                    await bench.clock.pass_(3.0)
            else:
                limit(bench, 0)
                submit(recorder, *many)
                await bench.clock.pass_(3.0)
                limit(bench, 100_000)
        assert (bench.tally.unrecorded, pager.sent) == (300, [])
        for _ in range(10):
            await bench.clock.pass_(1.0)
        assert [each.alert.fingerprint for each in pager.sent] == [each.fingerprint for each in many]
        assert bench.tally.unrecorded == 0

    play(tmp_path, story, pager)


def limit(bench: Bench, more: int) -> None:
    """Let the database have so many pages more than it has: SQLite then says that the disk is full."""
    with bench.database.engine.connect() as connection:
        pages = connection.scalar(text("PRAGMA page_count"))
        connection.execute(text(f"PRAGMA max_page_count = {pages + more}"))
