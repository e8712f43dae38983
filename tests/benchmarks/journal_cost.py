"""CPU seconds that following the journals of 8 ranks costs, over the seconds that pass.

Usage: python tests/benchmarks journal_cost [--ranks N] [--steps-per-second N] [--finished N] [--seconds N]

Time is the fake clock's: what is timed is the reading alone, not the writing of the journals.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

from flyball.collectors.catalog import LATENCY_BOUNDS
from flyball.collectors.runs import Runs

_MEMORY = {
    "allocated": 31_138_512_896, "reserved": 33_285_996_544, "active": 31_138_512_896,
    "inactive_split": 1_147_483_648, "peak_allocated": 32_212_254_720, "peak_reserved": 33_285_996_544,
    "peak_active": 32_212_254_720, "retries": 0, "ooms": 0,
}  # fmt: skip
_COMMUNICATED = {
    "all_reduce": 497_664_000,
    "all_gather_into_tensor": 248_832_000,
    "reduce_scatter_tensor": 99,
}


class HandClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.begun, self.passed = time.time(), 0.0

    def time(self) -> float:
        return self.begun + self.passed

    def monotonic(self) -> float:
        return self.passed

    def sleep(self, seconds: float) -> None:
        self.passed += seconds


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        root, clock = Path(folder), HandClock()
        for number in range(options.finished):
            _write_finished(root / f"old-{number}")
        (root / "job").mkdir()
        files = [(root / "job" / f"rank-{rank}.jsonl").open("ab") for rank in range(options.ranks)]
        for file in files:
            file.write(
                _line("header", clock, schema=1, pid=1, started=0.0, host="h", world_size=options.ranks)
            )
        runs = Runs([root], clock=clock, host="h", started=lambda _: 0.0)
        begun = time.process_time()
        runs.refresh()
        first = time.process_time() - begun
        spent, step = 0.0, 0
        for half in range(2 * options.seconds):
            for _ in range(options.steps_per_second // 2):
                step += 1
                clock.sleep(1 / options.steps_per_second)
                for file in files:
                    file.write(_step(clock, step))
            for file in files:
                if half % 2:
                    file.write(_communication(clock))
                file.flush()
            begun = time.process_time()
            ranks = runs.refresh()
            runs.refresh()
            spent += time.process_time() - begun
        for file in files:
            file.close()
        assert {rank.step for rank in ranks} == {step}
    share = spent / options.seconds
    given = {"ranks": options.ranks, "steps_per_second": options.steps_per_second}
    found = {"first_reading_seconds": round(first, 3), "core_share": round(share, 5)}
    print(json.dumps({**given, "finished_runs": options.finished, **found}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ranks", type=int, default=8)
    parser.add_argument("--steps-per-second", type=int, default=20)
    parser.add_argument("--finished", type=int, default=0)
    parser.add_argument("--seconds", type=int, default=60)
    return parser.parse_args()


def _line(kind: str, clock: HandClock, **fields: object) -> bytes:
    record = {"kind": kind, "time": clock.time(), "clock": clock.monotonic(), **fields}
    return json.dumps(record, separators=(",", ":")).encode() + b"\n"


def _step(clock: HandClock, step: int) -> bytes:
    return _line(
        "step", clock, engine=0, step=step, count=1, seconds=0.049834123, samples=32, tokens=32768,
        forwards=1, skipped=0, loss=3.218734264373779, lr=0.00029998, loss_step=step - 1, grad_norm=0.8231,
        memory=_MEMORY, communicated=_COMMUNICATED, device_seconds=0.048123, device_step=step - 2,
    )  # fmt: skip


def _communication(clock: HandClock) -> bytes:
    entry = {"source": "timed", "counts": [1] * (len(LATENCY_BOUNDS) + 1), "sum": 0.25}
    kinds = [{"op": op, "size_class": size, **entry} for op in _COMMUNICATED for size in ("8KiB", "larger")]
    return _line("communication", clock, engine=0, bounds=LATENCY_BOUNDS, collectives=kinds)


def _write_finished(folder: Path) -> None:
    folder.mkdir()
    clock = HandClock()
    clock.begun -= 10_000
    for rank in range(8):
        path = folder / f"rank-{rank}.jsonl"
        path.write_bytes(_step(clock, 1) + _line("end", clock, steps=1, reason="exit"))
        os.utime(path, (clock.begun, clock.begun))
    os.utime(folder, (clock.begun, clock.begun))


if __name__ == "__main__":
    main()
