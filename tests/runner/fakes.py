"""Fakes of the supervisor's surroundings."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


class FakeClock:
    """Time that passes only by sleeping; ``on_sleep`` sees every new time."""

    def __init__(self, on_sleep: Callable[[float], None] = lambda now: None) -> None:
        self.now = 1000.0
        self._on_sleep = on_sleep

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self._on_sleep(self.now)


class FakeProcesses:
    """Processes that end when they are told to."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.ranks: dict[int, int] = {}
        self.ended = 0

    def poll(self) -> int | None:
        return self.status

    def rank_statuses(self) -> Mapping[int, int]:
        return self.ranks

    def observe(self) -> None:
        pass

    def end(self) -> Sequence[str]:
        self.ended += 1
        return ()


class JournalWriter:
    """Writes a rank's journal as the probe does."""

    def __init__(self, directory: Path, clock: FakeClock, rank: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._path, self._clock, self._rank, self._steps = directory / f"rank-{rank}.jsonl", clock, rank, 0

    def write(self, kind: str, **fields: Any) -> None:
        record = {"kind": kind, "time": self._clock.now, "clock": self._clock.now, **fields}
        with self._path.open("a") as file:
            file.write(json.dumps(record) + "\n")

    def header(self, **fields: Any) -> None:
        known = {"rank": self._rank, "pid": 0, "engine": 0, "world_size": 1, "micro_batch": 4, "threads": 1}
        self.write("header", **{**known, **fields})

    def step(self, **fields: Any) -> None:
        self._steps += 1
        known = {"engine": 0, "step": self._steps, "count": 1, "seconds": 0.5, "samples": 4, "forwards": 1}
        self.write("step", **{**known, "skipped": 0, "loss": 1.0, **fields})
