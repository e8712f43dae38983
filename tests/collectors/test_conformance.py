"""What every collector of ours keeps to: start, collect, fail, stall, recover, close."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.agent.daemon_fakes import Bench as Daemon
from tests.agent.daemon_fakes import InlineWorker, VirtualLoop, VirtualSelector
from tests.collectors.conformance import BENCHES, OwnBench, alone
from tests.collectors.journal_fakes import FakeClock
from tests.patience import PATIENCE_SECONDS

from flyball.agent.daemon.collection import Collection, Wanted
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.states import Stalled, Up
from flyball.agent.daemon.worker import ThreadWorker, Worker
from flyball.collectors.registry import OWN, CollectorSettings, CollectorType, Surroundings, collector_types
from flyball.collectors.runs import Runs
from flyball.collectors.testing import CHECKS, Bench


@pytest.fixture(params=OWN)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OwnBench]:
    with BENCHES[request.param](tmp_path) as one:
        yield one


def test_every_collector_of_ours_has_a_bench() -> None:
    assert set(OWN) == set(BENCHES)


@pytest.mark.parametrize("check", CHECKS)
def test_it_conforms(bench: OwnBench, check: Callable[[Bench], None]) -> None:
    check(bench)


@pytest.mark.parametrize("name", OWN)
def test_making_one_opens_nothing(name: str) -> None:
    kind = collector_types()[name]
    made = kind.make(kind.settings(), alone(FakeClock()))
    assert made.name == name
    assert made.interval_seconds == kind.settings().interval_seconds
    made.close()


class OutsideTime:
    """A real thread that virtual time does not wait for, until it is told to."""

    def __init__(self, name: str, selector: VirtualSelector) -> None:
        self._worker, self._selector = ThreadWorker(name), selector
        self._open = 0
        self._awaited = False

    def submit(self, job: Callable[[], Any]) -> "asyncio.Future[Any]":
        future = self._worker.submit(job)
        self._count(1)
        future.add_done_callback(lambda _: self._count(-1))
        return future

    def _count(self, more: int) -> None:
        self._open += more
        self._selector.at_work += more if self._awaited else 0

    def wait_for_it(self) -> None:
        self._awaited = True
        self._selector.at_work += self._open

    def stop(self) -> None:
        self._worker.stop()


def one_on_a_thread(bench: OwnBench, daemon: Daemon, loop: VirtualLoop) -> tuple[Wanted, OutsideTime]:
    """Have the daemon run a bench's collector on a thread of its own, and the others as it does."""
    thread = OutsideTime(bench.kind.name, loop.selector)

    def worker(name: str) -> Worker:
        return thread if name == bench.kind.name else InlineWorker(name)

    daemon.collection = Collection(
        Surroundings(host="here", clock=daemon.clock, runs=Runs([], clock=daemon.clock, host="here")),
        store=daemon.store,
        log=StateLog(daemon.log, daemon.clock),
        make_worker=worker,
    )
    kind = CollectorType(
        name=bench.kind.name, help="On a bench.", settings=CollectorSettings, make=lambda *_: bench.collector
    )
    settings = CollectorSettings(interval_seconds=bench.collector.interval_seconds)
    return Wanted(kind=kind, settings=settings), thread


def test_a_source_that_hangs_delays_no_other_collector(bench: OwnBench) -> None:
    name, interval = bench.kind.name, bench.collector.interval_seconds
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualLoop)
        daemon = Daemon(loop)

        async def play() -> None:
            wanted, thread = one_on_a_thread(bench, daemon, loop)
            bench.gate.shut()
            daemon.apply(wanted, daemon.wanted("other"))
            await daemon.until(0.0)
            assert bench.gate.entered.wait(PATIENCE_SECONDS)
            await daemon.until(3 * interval + 10)
            assert isinstance(daemon.state(name), Stalled)
            assert daemon.told["other"].asked == list(range(int(3 * interval + 11)))
            bench.gate.open()
            thread.wait_for_it()
            await daemon.until(daemon.loop.time() + 2 * interval)
            assert isinstance(daemon.state(name), Up)
            await daemon.collection.stop(5.0)

        runner.run(play())
