"""24 simulated hours of the daemon with run churn: memory, threads and descriptors before and after.

Time is the event loop's own and costs nothing; threads, collectors and journals are real. A run begins every
minute, steps each second for three and is removed after five; one collector fails for a minute in every
ten; and everything is scraped every 15 seconds.

    python tests/benchmarks agent_day --hours 24
"""

import argparse
import asyncio
import gc
import json
import os
import shutil
import tempfile
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.agent.daemon_fakes import LoopClock, VirtualLoop

from flyball.agent.daemon.collection import Collection, Wanted
from flyball.agent.daemon.exposition import Page, process_registry, render
from flyball.agent.daemon.own_metrics import own_samples
from flyball.agent.daemon.state_log import StateLog
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.watched import Limits
from flyball.clock import Clock
from flyball.collectors import catalog
from flyball.collectors.base import Collector, CollectorFailed, Sample
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings, collector_types
from flyball.collectors.runs import Runs

RUN_SECONDS, REMOVED_SECONDS, NEW_RUN_SECONDS, SCRAPE_SECONDS = 180.0, 300.0, 60.0, 15.0
JOURNALS = ("workload", "allocator", "nccl")
PID, STARTED = 4242, 1.0
READINGS = 40
"""Of allocated memory, if it were read all day; half are."""
_LARGE_BYTES = 512 << 10
MEMORY = {"allocated": 400, "reserved": 1000, "active": 500, "peak_active": 650, "peak_reserved": 1000}


@dataclass(kw_only=True)
class Day:
    """What one simulation came to."""

    ranks: int
    collections: int = 0
    scrapes: int = 0
    runs_seen: int = 0
    ranks_seen: int = 0
    """At once."""
    early_bytes: int = 0
    """The least that stood allocated in the third quarter: what collections under way hold is not in it."""
    late_bytes: int = 0
    """Likewise in the last quarter."""
    threads_before: int = 0
    threads_after: int = 0
    descriptors_before: int = 0
    descriptors_after: int = 0

    @property
    def growth(self) -> float:
        """Of allocated memory, from the third quarter to the last."""
        return self.late_bytes / self.early_bytes - 1


class Silent:
    """A log that keeps nothing."""

    def info(self, event: str, **values: object) -> None:
        return

    warning = info


class Churn:
    """Writes journals as ranks do: runs begin, step each second, end, and are removed.

    Args:
        root: folder of runs.
        clock: of the simulation.
    """

    def __init__(self, root: Path, clock: Clock, day: Day) -> None:
        self._root, self._clock, self._day = root, clock, day
        self._began: dict[int, float] = {}

    async def live(self) -> None:
        """Go on for ever."""
        while True:
            now = self._clock.time()
            if not self._began or now - max(self._began.values()) >= NEW_RUN_SECONDS:
                self._begin(self._day.runs_seen, now)
            for number, began in list(self._began.items()):
                self._advance(number, now - began)
            await asyncio.sleep(1.0)

    def _folder(self, number: int) -> Path:
        return self._root / f"run-{number:05}"

    def _begin(self, number: int, now: float) -> None:
        self._day.runs_seen += 1
        self._began[number] = now
        self._folder(number).mkdir()
        known = {"schema": 1, "purpose": "run", "world_size": self._day.ranks, "host": "here", "engine": 0}
        self._write(number, "header", **known, pid=PID, started=STARTED, device="cpu", gpu_uuid=None)

    def _advance(self, number: int, age: float) -> None:
        if age > REMOVED_SECONDS:
            shutil.rmtree(self._folder(number))
            del self._began[number]
        elif age == RUN_SECONDS:
            self._write(number, "end", reason="exit")
        elif age < RUN_SECONDS:
            fields = {"step": int(age) + 1, "count": 1, "seconds": 0.9, "samples": 8, "tokens": 512}
            self._write(number, "step", engine=0, **fields, skipped=0, loss=1.0, memory=MEMORY)
            entry = {"src": 0, "dst": 1, "size_class": "8KiB", "source": "in_band"}
            p2p = [{**entry, "counts": [1, 1, 0], "sum": 1e-3}]
            self._write(number, "communication", engine=0, bounds=[1e-3, 1.0], collectives=[], p2p=p2p)

    def _write(self, number: int, kind: str, **fields: object) -> None:
        for rank in range(self._day.ranks):
            record = {"kind": kind, "time": self._clock.time(), "clock": self._clock.monotonic(), **fields}
            with (self._folder(number) / f"rank-{rank}.jsonl").open("a") as journal:
                journal.write(json.dumps({**record, "rank": rank}) + "\n")


class Counted:
    """A collector of flyball's own that counts its collections."""

    def __init__(self, own: Collector, day: Day) -> None:
        self.name, self.interval_seconds = own.name, own.interval_seconds
        self._own, self._day = own, day

    def collect(self) -> Iterable[Sample]:
        self._day.collections += 1
        return self._own.collect()

    def close(self) -> None:
        self._own.close()


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
    gc.collect()  # what others left open is closed before it is counted
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        day.threads_before, day.descriptors_before = threading.active_count(), _descriptors()
        tracemalloc.start()
        try:
            runner.run(_live(day, hours * 3600))
        finally:
            tracemalloc.stop()
        for thread in threading.enumerate():
            if thread.name in (*JOURNALS, "host"):  # told to end; they need no longer than this
                thread.join(10)
        day.threads_after, day.descriptors_after = threading.active_count(), _descriptors()
    return day


async def _live(day: Day, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        await _live_in(Path(folder), day, seconds)


async def _live_in(folder: Path, day: Day, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    clock, store = LoopClock(loop), Store()
    root = folder / "runs"
    root.mkdir()
    runs = Runs([root], clock=clock, host="here", positions=folder / "positions", started=_started)
    around = Surroundings(host="here", clock=clock, runs=runs)
    collection = Collection(around, store=store, log=StateLog(Silent(), clock), make_worker=loop.worker)
    collection.apply(_wanted(day), Limits())
    process = process_registry()
    churn = asyncio.create_task(Churn(root, clock, day).live())
    scrapes = int(seconds / SCRAPE_SECONDS)
    early: list[int] = []
    late: list[int] = []
    while loop.time() < seconds:
        await asyncio.sleep(SCRAPE_SECONDS)
        own = own_samples(collection.watched, store, reload_successful=True, now=clock.time())
        page, _ = render(Page(tuple(store), own, process), accept="", accept_encoding="")
        day.scrapes += 1
        day.ranks_seen = max(day.ranks_seen, page.count(b"\nflyball_samples_total{"))
        if loop.time() >= seconds / 2 and day.scrapes % max(1, scrapes // READINGS) == 0:
            (early if loop.time() < seconds * 3 / 4 else late).append(_allocated())
    day.early_bytes, day.late_bytes = min(early), min(late)
    churn.cancel()
    await asyncio.wait({churn})
    await collection.stop(3.0)
    runs.close()


def _started(pid: int) -> float | None:
    return STARTED if pid == PID else None


def _wanted(day: Day) -> dict[str, Wanted]:
    def counted(kind: CollectorType) -> CollectorType:
        return replace(kind, make=lambda settings, around: Counted(kind.make(settings, around), day))

    every = collector_types()
    found = {name: Wanted(kind=counted(every[name]), settings=every[name].settings()) for name in JOURNALS}
    moody = CollectorType(
        name="host",
        help="A fake.",
        settings=CollectorSettings,
        make=lambda settings, around: Moody(settings, around.clock, day),
    )
    return {**found, "host": Wanted(kind=moody, settings=CollectorSettings())}


def _allocated() -> int:
    gc.collect()
    # The interpreter's table of interned strings (pathlib's among them) is one block of a megabyte or two,
    # which doubles and halves by itself; nothing of the agent's is as large.
    sizes = (trace.size for trace in tracemalloc.take_snapshot().traces)
    return sum(size for size in sizes if size < _LARGE_BYTES)


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def main() -> None:
    """Run it and print one line a figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    options = parser.parse_args()
    day = simulate(options.hours)
    if options.json:
        print(json.dumps(asdict(day)))
        return
    print(
        f"collections {day.collections}, scrapes {day.scrapes}, runs {day.runs_seen}, "
        f"{day.ranks_seen} ranks at once"
    )
    print(f"allocated {day.early_bytes} -> {day.late_bytes} bytes, growth {day.growth:+.2%} (at most 2%)")
    print(f"threads {day.threads_before} -> {day.threads_after}")
    print(f"descriptors {day.descriptors_before} -> {day.descriptors_after}")


if __name__ == "__main__":
    main()
