"""When the daemon evaluates its rules: right after the collections of its thread, else a moment later."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.agent.daemon_fakes import Bench, InlineWorker, Lines, in_virtual_time, load

from flyball.agent.daemon.alerting import Alerting
from flyball.agent.daemon.collection import Collection
from flyball.agent.daemon.evaluation import Round
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.worker import Worker
from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Sample
from flyball.collectors.registry import Surroundings
from flyball.collectors.runs import Runs
from flyball.policies.rule import Comparison, Expression, Operand, Rule

RULE = Rule(
    alert="Busy",
    expression=Expression(left=Operand(metric=catalog.HOST_LOAD)),
    comparison=Comparison.ABOVE,
    threshold=0.0,
)


class Rounds:
    """A daemon's alerting over a bench's collectors, and when it went round."""

    def __init__(self, bench: Bench, folder: Path, *, in_rules_thread: Callable[[str], bool]) -> None:
        self.bench, self.made = bench, list[tuple[float, list[float]]]()
        """Loop time and the values of all alerts."""
        self.alerting = Alerting(
            [RULE],
            store=bench.store,
            own=tuple,
            database=f"sqlite:///{folder / 'agent.db'}",
            clock=bench.clock,
            log=Lines(),
            rules_worker=InlineWorker("policies"),
            storage_worker=InlineWorker("alerts"),
            tried=lambda: bench.collection.tried(),
            rounded=self._rounded,
        )

        def begins(worker: Worker) -> None:
            assert isinstance(worker, InlineWorker)
            self.alerting.expect(in_rules_thread=in_rules_thread(worker.name))

        bench.collection = Collection(
            Surroundings(host="here", clock=bench.clock, runs=Runs([], clock=bench.clock, host="here")),
            store=bench.store,
            log=StateLog(bench.log, bench.clock),
            make_worker=bench._worker,
            begins=begins,
        )
        bench.store.listen(self.alerting.wake)

    def _rounded(self, found: Round) -> None:
        values = [each.value for each in found.active if each.quiet_time is None]
        self.made.append((round(self.bench.loop.time(), 3), values))

    def since(self, seconds: float) -> list[tuple[float, list[float]]]:
        return [each for each in self.made if each[0] >= seconds]


def counting(bench: Bench) -> Callable[[], list[Sample]]:
    """The load is the whole second at which it was read."""
    return lambda: [load(float(round(bench.loop.time())))]


def played(
    folder: Path, story: Callable[[Rounds], Awaitable[None]], in_rules_thread: Callable[[str], bool]
) -> Rounds:
    made: list[Rounds] = []

    async def play(bench: Bench) -> None:
        rounds = Rounds(bench, folder, in_rules_thread=in_rules_thread)
        made.append(rounds)
        await rounds.alerting.start({})
        try:
            await story(rounds)
        finally:
            await bench.collection.stop(1.0)
            await rounds.alerting.stop()

    in_virtual_time(play)
    return made[0]


async def two_collectors(rounds: Rounds) -> None:
    bench = rounds.bench
    bench.apply(bench.wanted("one"), bench.wanted("two"))
    await asyncio.sleep(0.5)
    bench.told["one"].answer = counting(bench)
    bench.told["two"].answer = list
    await bench.until(6.5)


def test_a_round_follows_the_collections_of_its_thread_and_sees_what_they_read(tmp_path: Path) -> None:
    rounds = played(tmp_path, two_collectors, lambda name: True)
    assert rounds.since(1.0) == [(float(second), [float(second)]) for second in range(1, 7)]


def test_with_a_reader_of_another_thread_it_waits_for_what_comes_at_the_same_moment(tmp_path: Path) -> None:
    rounds = played(tmp_path, two_collectors, lambda name: name == "two")
    assert rounds.since(1.0) == [(second + 0.05, [float(second)]) for second in range(1, 7)]


def test_what_a_thread_of_its_own_reads_later_is_seen_soon_after(tmp_path: Path) -> None:
    async def story(rounds: Rounds) -> None:
        bench = rounds.bench
        bench.apply(bench.wanted("one"), bench.wanted("slow", interval_seconds=60.0))
        await bench.until(0.5)
        bench.told["one"].answer = list
        bench.told["slow"].answer = counting(bench)
        bench.workers["slow"].hold = True
        await bench.until(60.5)
        bench.workers["slow"].let_go()
        await bench.until(61.5)

    rounds = played(tmp_path, story, lambda name: name == "one")
    # At 60 the slow one begins, too, so that no round follows at once; it reads when it is let go.
    assert rounds.since(60.0) == [(60.05, []), (60.551, [61.0]), (61.0, [61.0])]


def test_a_collector_that_fails_is_noticed_within_the_second(tmp_path: Path) -> None:
    async def story(rounds: Rounds) -> None:
        await two_collectors(rounds)

        def fail() -> list[Sample]:
            raise CollectorFailed("no_permission")

        rounds.bench.told["one"].answer = fail
        await rounds.bench.until(7.5)

    rounds = played(tmp_path, story, lambda name: True)
    assert rounds.since(7.0) == [(7.0, [6.0]), (7.05, [])]


@pytest.mark.parametrize("is_shared", [True, False])
def test_what_a_collector_reads_while_it_is_stopped_counts_no_more(tmp_path: Path, is_shared: bool) -> None:
    async def story(rounds: Rounds) -> None:
        await two_collectors(rounds)
        bench = rounds.bench
        bench.workers["one"].hold = True
        await bench.until(7.5)
        bench.apply(bench.wanted("two"))
        bench.workers["one"].let_go()
        await bench.until(8.5)
        assert set(bench.store.readings()) == {"two"}

    rounds = played(tmp_path, story, lambda name: is_shared)
    assert rounds.since(8.0)[-1][1] == []
