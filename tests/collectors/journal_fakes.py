"""A clock that is set by hand, and journals as the probe writes them."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from flyball.collectors.run_state import RankState
from flyball.collectors.runs import Runs

WALL = 1_800_000_000.0
CLOCK = 5_000.0
MEMORY = {
    "allocated": 400, "reserved": 1000, "active": 500, "inactive_split": 200, "peak_allocated": 600,
    "peak_active": 650, "peak_reserved": 1000, "retries": 2, "ooms": 1,
}  # fmt: skip


class FakeClock:
    def __init__(self) -> None:
        self.wall, self.now = WALL, CLOCK

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.wall += seconds
        self.now += seconds


class FakeProcesses:
    """Living processes: pid to start on the monotonic clock."""

    def __init__(self, living: dict[int, float]) -> None:
        self.living = living

    def __call__(self, pid: int) -> float | None:
        return self.living.get(pid)


def line(kind: str, at: float = 0.0, **fields: Any) -> bytes:
    return json.dumps({"kind": kind, "time": WALL + at, "clock": CLOCK + at, **fields}).encode() + b"\n"


def header(at: float = 0.0, **fields: Any) -> bytes:
    known = {
        "schema": 1, "purpose": "run", "rank": 0, "world_size": 2, "host": "here", "pid": 100,
        "started": 4_000.0, "device": "cpu", "gpu_uuid": None, "engine": 0,
    }  # fmt: skip
    return line("header", at, **{**known, **fields})


def step(number: int, at: float = 0.0, **fields: Any) -> bytes:
    known = {
        "engine": 0,
        "step": number,
        "count": 1,
        "seconds": 0.25,
        "samples": 4,
        "tokens": 64,
        "skipped": 0,
    }
    return line("step", at, **{**known, "loss": 1.0 / number, **fields})


def steps(numbers: Iterable[int], **fields: Any) -> bytes:
    return b"".join(step(number, number / 4, **fields) for number in numbers)


def communication(at: float, counts: list[int], total: float) -> bytes:
    return line(
        "communication",
        at,
        engine=0,
        bounds=[1e-3, 1.0],
        collectives=[
            {"op": "all_reduce", "size_class": "1MiB", "source": "timed", "counts": counts, "sum": total}
        ],
        p2p=[{"src": 0, "dst": 1, "size_class": "8KiB", "source": "in_band", "counts": counts, "sum": total}],
        operations={"all_reduce": 3},
    )


class Host:
    """A root folder, its runs and who reads them."""

    def __init__(self, folder: Path) -> None:
        self.root, self.positions = folder / "runs", folder / "positions.json"
        self.root.mkdir()
        self.clock = FakeClock()
        self.processes = FakeProcesses({100: 4_000.0})
        self.networked = False

    def runs(self, **options: Any) -> Runs:
        return Runs(
            [self.root],
            clock=self.clock,
            host="here",
            positions=self.positions,
            started=self.processes,
            shared_with_hosts=lambda _: self.networked,
            **options,
        )

    def path(self, run: str = "job", rank: int = 0) -> Path:
        return self.root / run / f"rank-{rank}.jsonl"

    def write(self, data: bytes, run: str = "job", rank: int = 0) -> Path:
        """Append to a journal, as of the fake clock's time."""
        path = self.path(run, rank)
        path.parent.mkdir(exist_ok=True)
        with path.open("ab") as file:
            file.write(data)
        self.date(path)
        return path

    def date(self, path: Path) -> None:
        # Both stamps, since the folder tells of new files.
        os.utime(path, (self.clock.wall, self.clock.wall))
        os.utime(path.parent, (self.clock.wall, self.clock.wall))


def only(runs: Runs) -> RankState:
    (state,) = runs.refresh(0)
    return state


def reasons(runs: Runs) -> list[tuple[str, str]]:
    runs.refresh(0)
    return [(fault.run, fault.reason) for fault in runs.faults()]
