"""24 simulated hours of the daemon with run churn: memory, threads and descriptors before and after.

Time is the event loop's own and costs nothing; the collectors' threads are real. Runs appear every minute and
finish after three, one collector fails for a minute in every ten, and everything is scraped every 15 seconds.

    python tests/benchmarks agent_day --hours 24
"""

import argparse
import asyncio
import gc
import itertools
import os
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass

from tests.agent.daemon_fakes import LoopClock, VirtualLoop

from flyball.agent.daemon.collection import Collection, Wanted
from flyball.agent.daemon.exposition import Page, process_registry, render
from flyball.agent.daemon.own_metrics import own_samples
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.watched import Limits
from flyball.clock import Clock
from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Sample
from flyball.collectors.distribution import Tally
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.collectors.runs import Runs

RUN_SECONDS, NEW_RUN_SECONDS, SCRAPE_SECONDS = 180.0, 60.0, 15.0


@dataclass(kw_only=True)
class Day:
    """What one simulation came to."""

    ranks: int
    collections: int = 0
    scrapes: int = 0
    runs_seen: int = 0
    early_bytes: int = 0
    late_bytes: int = 0
    threads_before: int = 0
    threads_after: int = 0
    descriptors_before: int = 0
    descriptors_after: int = 0

    @property
    def growth(self) -> float:
        """Of allocated memory, from an early hour to the end."""
        return self.late_bytes / self.early_bytes - 1


class Silent:
    """A log that keeps nothing."""

    def info(self, event: str, **values: object) -> None:
        return

    warning = info


class Churn:
    """Ranks of the runs that are alive by the clock."""

    def __init__(self, settings: CollectorSettings, clock: Clock, day: Day) -> None:
        self.name, self.interval_seconds = "workload", settings.interval_seconds
        self._clock, self._day = clock, day

    def collect(self) -> Iterator[Sample]:
        now = self._clock.monotonic()
        newest = int(now // NEW_RUN_SECONDS)
        self._day.collections += 1
        self._day.runs_seen = max(self._day.runs_seen, newest)
        oldest = max(0, newest - int(RUN_SECONDS // NEW_RUN_SECONDS) + 1)
        for number, rank in itertools.product(range(oldest, newest + 1), range(self._day.ranks)):
            labels, tally = (f"run-{number % 1000:04}", str(rank)), Tally(catalog.STEP_SECONDS)
            tally.observe(0.1, times=int(now) + 1)
            yield Sample(metric=catalog.STEP_SECONDS, labels=labels, value=tally.distribution(), time=now)
            yield Sample(metric=catalog.SAMPLES, labels=labels, value=now, time=now)

    def close(self) -> None:
        return


class Moody:
    """Fails for one minute in ten."""

    def __init__(self, settings: CollectorSettings, clock: Clock, day: Day) -> None:
        self.name, self.interval_seconds = "host", settings.interval_seconds
        self._clock, self._day = clock, day

    def collect(self) -> Iterator[Sample]:
        self._day.collections += 1
        if self._clock.monotonic() % 600 > 540:
            raise CollectorFailed("no_permission", "for a minute")
        yield Sample(metric=catalog.HOST_LOAD, labels=("here",), value=1.0, time=self._clock.time())

    def close(self) -> None:
        return


def simulate(hours: float, *, ranks: int = 2) -> Day:
    """Run the daemon's collection for ``hours`` of its own time."""
    day = Day(ranks=ranks)
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        day.threads_before, day.descriptors_before = threading.active_count(), _descriptors()
        tracemalloc.start()
        try:
            runner.run(_live(day, hours * 3600))
        finally:
            tracemalloc.stop()
        for thread in threading.enumerate():
            if thread.name in ("workload", "host"):  # told to end; they need no longer than this
                thread.join(10)
        day.threads_after, day.descriptors_after = threading.active_count(), _descriptors()
    return day


async def _live(day: Day, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    clock, store = LoopClock(loop), Store()
    around = Surroundings(host="here", clock=clock, runs=Runs([], clock=clock, host="here"))
    collection = Collection(around, store=store, log=StateLog(Silent(), clock), make_worker=loop.worker)
    wanted = {}
    for kind in (Churn, Moody):
        made = kind(CollectorSettings(), clock, day)
        kind_type = CollectorType(
            name=made.name,
            help="A fake.",
            settings=CollectorSettings,
            make=lambda settings, surroundings, kind=kind: kind(settings, surroundings.clock, day),  # type: ignore[misc]
        )
        wanted[made.name] = Wanted(kind=kind_type, settings=CollectorSettings())
    collection.apply(wanted, Limits())
    process = process_registry()
    early = seconds / 2  # at the end, the churn stands where it stands now
    while loop.time() < seconds:
        await asyncio.sleep(SCRAPE_SECONDS)
        own = own_samples(collection.watched, store, reload_successful=True, now=clock.time())
        render(Page(tuple(store), own, process), accept="", accept_encoding="gzip")
        day.scrapes += 1
        if not day.early_bytes and loop.time() >= early:
            day.early_bytes = _allocated()
    day.late_bytes = _allocated()
    await collection.stop(3.0)


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def main() -> None:
    """Run it and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    day = simulate(parser.parse_args().hours)
    print(f"collections {day.collections}, scrapes {day.scrapes}, runs {day.runs_seen}")
    print(f"allocated {day.early_bytes} -> {day.late_bytes} bytes, growth {day.growth:+.2%} (at most 2%)")
    print(f"threads {day.threads_before} -> {day.threads_after}")
    print(f"descriptors {day.descriptors_before} -> {day.descriptors_after}")


if __name__ == "__main__":
    main()
