"""A recorded run of two ranks, played as if it went on and on, to collectors and the default policies."""

import gzip
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from tests.collectors.journal_fakes import FakeClock
from tests.collectors.nvml_fake import FakeGpu, FakeNvml

from flyball.collectors import catalog
from flyball.collectors.allocator import AllocatorCollector
from flyball.collectors.base import Collector
from flyball.collectors.nccl import NcclCollector
from flyball.collectors.nvml import NvmlCollector
from flyball.collectors.registry import Surroundings
from flyball.collectors.runs import Runs
from flyball.collectors.workload import WorkloadCollector
from flyball.history.alert_records import AlertStatus
from flyball.policies.engine import Engine
from flyball.policies.rule_file import read_rules
from flyball.tuners.knobs.registry import BY_NAME

DATA = Path(__file__).parents[1] / "benchmarks" / "data"
RANKS = (0, 1)
PID_STARTED = 4_000.0
Record = dict[str, Any]
START_SECONDS = 20.0
"""From the header to what follows: larger runs take long to initialize."""
Change = Callable[[Record, float], bool]
"""Alters a record in place, and says whether it is written; called with the seconds since the begin."""


def recorded(rank: int) -> list[Record]:
    """The journal of one rank: a header, then what it did."""
    text = gzip.decompress((DATA / f"healthy_rank-{rank}.jsonl.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.splitlines()]


def unchanged(record: Record, seconds: float) -> bool:
    """Leave a record as it is."""
    del record, seconds
    return True


@dataclass(kw_only=True)
class Replay:
    """The machine of a run that was recorded, and an idle GPU beside it."""

    root: Path
    change: Change = unchanged
    purpose: str = "run"
    clock: FakeClock = field(default_factory=FakeClock)
    fired: Counter[str] = field(default_factory=Counter)
    """Transitions to firing, by rule."""
    phases: set[str] = field(default_factory=set)
    """That the run was seen in."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.root.mkdir()
        runs = Runs(
            [self.root],
            clock=self.clock,
            host="here",
            started=lambda _: PID_STARTED,
            gone=lambda *_: False,
            shared_with_hosts=lambda _: False,
        )
        around = Surroundings(host="here", clock=self.clock, runs=runs)
        idle = FakeGpu("GPU-idle", busy=0, gpm=dict.fromkeys((2, 3, 5, 10, 20, 21, 60, 61), 0.0))
        self.collectors: Sequence[Collector] = (
            WorkloadCollector(around, interval_seconds=1.0),
            AllocatorCollector(around, interval_seconds=1.0),
            NcclCollector(around, interval_seconds=1.0),
            NvmlCollector(around, interval_seconds=1.0, nvml=FakeNvml(idle)),
        )
        self.engine = Engine(read_rules(["default"], known_knobs=BY_NAME))
        self._journals: dict[int, Iterator[Record]] = {}
        self._next: dict[int, Record] = {}

    def live(self, seconds: float) -> None:
        """Let time pass, one collection and one evaluation a second."""
        until = self.seconds + seconds
        while self.seconds < until:
            self.clock.advance(1.0)
            self.seconds += 1.0
            for rank in self._next:
                self._play(rank)
            now = self.clock.time()
            for collector in self.collectors:
                samples = tuple(collector.collect())
                self.phases |= {each.label("phase") for each in samples if each.metric is catalog.RUN_INFO}
                self.engine.observe(collector.name, now, samples)
            for transition in self.engine.evaluate(now):
                self.fired[transition.alert.rule] += transition.alert.status is AlertStatus.FIRING
        self.fired = +self.fired

    def start(self) -> None:
        """Begin the run: its headers are written, and it initializes for as long as it did."""
        for rank in RANKS:
            self._journals[rank] = endless(recorded(rank), self.clock, self.purpose)
            self._next[rank] = next(self._journals[rank])

    def finish(self) -> None:
        """End the run in good order."""
        self._next.clear()
        for rank in RANKS:
            self._write(
                rank,
                {
                    "kind": "end",
                    "time": self.clock.time(),
                    "clock": self.clock.monotonic(),
                    "reason": "end",
                    "steps": 1,
                },
            )

    def _play(self, rank: int) -> None:
        lines = []
        while self._next[rank]["clock"] <= self.clock.monotonic():
            record = self._next[rank]
            if self.change(record, self.seconds):
                lines.append(record)
            self._next[rank] = next(self._journals[rank])
        if lines:
            self._write(rank, *lines)

    def _write(self, rank: int, *records: Mapping[str, Any]) -> None:
        path = self.root / "job" / f"rank-{rank}.jsonl"
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record) + "\n" for record in records)
        for each in (path, path.parent):
            os.utime(each, (self.clock.time(), self.clock.time()))


def endless(records: Sequence[Record], clock: FakeClock, purpose: str) -> Iterator[Record]:
    """Yield the records as of now, and from the last step on those since the first step again, for ever."""
    shift = clock.monotonic() - records[0]["clock"]
    ahead = clock.time() - clock.monotonic()
    steps = [index for index, record in enumerate(records) if record["kind"] == "step"]
    first, last = steps[0], steps[-1]
    period = records[last]["clock"] - records[first]["clock"]
    length = records[last]["step"] - records[first]["step"]
    for number in count():
        begin = 0 if number == 0 else first + 1
        for record in records[begin : last + 1]:
            late = 0.0 if record["kind"] == "header" else START_SECONDS
            at = record["clock"] + shift + late + number * period
            told = {**record, "clock": at, "time": at + ahead}
            if record["kind"] == "header":
                told |= {"host": "here", "purpose": purpose, "started": PID_STARTED, "pid": 100}
            if "step" in record:
                told["step"] = record["step"] + number * length
            yield told
