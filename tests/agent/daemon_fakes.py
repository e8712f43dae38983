"""A virtual clock and loop, and collectors that do as they are told."""

import asyncio
import selectors
from collections.abc import Callable, Iterable
from typing import Any

from flyball.agent.daemon.collection import Collection, Wanted
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.watched import Limits
from flyball.agent.daemon.worker import ThreadWorker, Worker
from flyball.collectors import catalog
from flyball.collectors.base import Collector, Sample
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.collectors.runs import Runs

EPOCH = 1_800_000_000.0


class VirtualSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Jumps to the next timer instead of waiting, except while a thread is at work."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.at_work = 0.0, 0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0 or self.at_work:
            forever = timeout is None or timeout > 0
            return super().select(None if forever else 0)
        events = super().select(0)
        if not events:
            self.now += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time costs nothing."""

    def __init__(self) -> None:
        self.selector = VirtualSelector()
        super().__init__(self.selector)

    def time(self) -> float:
        return self.selector.now

    def worker(self, name: str) -> Worker:
        """A real thread; time stands still while it works."""
        return CountedWorker(name, self.selector)


class CountedWorker:
    """A ThreadWorker that the virtual loop waits for."""

    def __init__(self, name: str, selector: VirtualSelector) -> None:
        self._worker, self._selector = ThreadWorker(name), selector

    def submit(self, job: Callable[[], Any]) -> "asyncio.Future[Any]":
        self._selector.at_work += 1
        future = self._worker.submit(job)
        future.add_done_callback(self._over)
        return future

    def _over(self, future: "asyncio.Future[Any]") -> None:
        self._selector.at_work -= 1

    def stop(self) -> None:
        self._worker.stop()


class LoopClock:
    """The loop's time as a Clock."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def time(self) -> float:
        return EPOCH + self._loop.time()

    def monotonic(self) -> float:
        return self._loop.time()

    def sleep(self, seconds: float) -> None:
        raise AssertionError(f"nothing waits {seconds} s outside the loop")


class InlineWorker:
    """Answers at once, or when it is let go: what a thread does, without one."""

    def __init__(self, name: str) -> None:
        self.name, self.stopped = name, False
        self.held: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self.hold = False

    def submit(self, job: Callable[[], Any]) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.hold:
            self.held.append((job, future))
        else:
            _settle(job, future)
        return future

    def let_go(self) -> None:
        self.hold = False
        for job, future in self.held:
            _settle(job, future)
        self.held.clear()

    def stop(self) -> None:
        self.stopped = True


def _settle(job: Callable[[], Any], future: "asyncio.Future[Any]") -> None:
    try:
        future.set_result(job())
    except Exception as error:
        future.set_exception(error)


class Told:
    """A collector that returns or raises what it is told, and remembers when it was asked."""

    def __init__(self, name: str, settings: CollectorSettings, clock: Any) -> None:
        self.name, self.interval_seconds, self._clock = name, settings.interval_seconds, clock
        self.answer: Callable[[], Iterable[Any]] = lambda: [load(1.0)]
        self.asked: list[float] = []
        self.closed = 0

    def collect(self) -> Iterable[Any]:
        self.asked.append(self._clock.monotonic())
        return self.answer()

    def close(self) -> None:
        self.closed += 1


def load(value: Any, host: str = "here") -> Sample:
    return Sample(metric=catalog.HOST_LOAD, labels=(host,), value=value, time=EPOCH)


class Lines:
    """A log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, object]]] = []

    def info(self, event: str, **values: object) -> None:
        self.lines.append((event, values))

    warning = info


class Bench:
    """A collection in a virtual loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop, self.clock, self.log, self.store = loop, LoopClock(loop), Lines(), Store()
        self.workers: dict[str, InlineWorker] = {}
        self.told: dict[str, Told] = {}
        self.made: list[str] = []
        self.limits = Limits()
        runs = Runs([], clock=self.clock, host="here")
        self.collection = Collection(
            Surroundings(host="here", clock=self.clock, runs=runs),
            store=self.store,
            log=StateLog(self.log, self.clock),
            make_worker=self._worker,
        )

    def _worker(self, name: str) -> Worker:
        self.workers[name] = InlineWorker(name)
        return self.workers[name]

    def wanted(self, name: str, **settings: Any) -> Wanted:
        def make(given: CollectorSettings, surroundings: Surroundings) -> Collector:
            self.made.append(name)
            self.told[name] = Told(name, given, surroundings.clock)
            return self.told[name]

        kind = CollectorType(name=name, help="Does as it is told.", settings=CollectorSettings, make=make)
        return Wanted(kind=kind, settings=CollectorSettings(**settings))

    def apply(self, *wanted: Wanted) -> None:
        self.collection.apply({one.kind.name: one for one in wanted}, self.limits)

    def state(self, name: str) -> Any:
        return self.collection.watched[name].state

    async def until(self, seconds: float) -> None:
        """Let time pass up to ``seconds`` and a bit."""
        await asyncio.sleep(seconds - self.loop.time() + 0.001)


def in_virtual_time(play: Callable[[Bench], Any]) -> Bench:
    """Run a coroutine function over a bench; every wait in it is over at once."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        bench = Bench(runner.get_loop())
        runner.run(play(bench))
    return bench
