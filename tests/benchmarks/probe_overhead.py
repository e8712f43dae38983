"""Host time that the probe's hooks add to a step, side by side with the same engine unwatched.

    python tests/benchmarks/probe_overhead.py

One engine whose methods do nothing is driven through forward, backward and step boundary, with the hooks in
place and without, in alternating blocks; the difference of the block medians is the cost. Exits 1 on a miss.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from flyball.runner.probe.deepspeed_hooks import watch_engine
from flyball.runner.probe.meter import ATTRIBUTE, Meter
from flyball.runner.probe.readings import readings_for
from flyball.runner.probe.settings import Settings
from flyball.runner.probe.watch import SLOT, Probe

LIMITS_MICROSECONDS = {"without the allocator read": 30.0, "with the allocator read": 60.0}


class Engine:
    """What a hook sees of a DeepSpeed engine, and no work at all."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._modules = {"module": SimpleNamespace(training=True)}
        self.module = self._modules["module"]
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 1e-3}])
        self._step_applied = True

    def forward(self, **inputs: Any) -> None:
        """Nothing."""

    def backward(self, loss: torch.Tensor) -> None:
        """Nothing."""

    def _take_model_step(self, lr_kwargs: Any = None) -> None:
        """Nothing."""

    def train(self, mode: bool = True) -> None:
        """Nothing."""

    def eval(self) -> None:
        """Nothing."""


class Watched(Engine):
    """The same, hooked."""


watch_engine(Watched)


def block_seconds(engine: Engine, batch: dict[str, torch.Tensor], loss: torch.Tensor, steps: int) -> float:
    """Median seconds of a step in one block."""
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        engine.forward(**batch)
        engine.backward(loss)
        engine._take_model_step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def overhead_microseconds(
    device: torch.device, *, memory: bool, blocks: int, steps: int, folder: Path
) -> float:
    """Median over blocks of watched minus unwatched, in microseconds a step."""
    settings = Settings(
        directory=str(folder), memory=memory, max_records_per_second=1e9, budget_ratio=float("inf")
    )
    SLOT.probe = probe = Probe(settings, speaks=False)
    probe.journal.open(int(memory))
    plain, watched = Engine(device), Watched(device)
    watched.__dict__[ATTRIBUTE] = Meter(probe, watched, 0, readings_for(torch, device), pipeline=False)
    ids = torch.zeros((8, 1024), dtype=torch.long, device=device)
    batch = {"input_ids": ids, "labels": ids}
    loss = torch.tensor(1.0, device=device)
    differences = []
    for _ in range(blocks):
        bare = block_seconds(plain, batch, loss, steps)
        differences.append(block_seconds(watched, batch, loss, steps) - bare)
    written = sum(
        1 for line in (folder / f"rank-{int(memory)}.jsonl").open() if json.loads(line)["kind"] == "step"
    )
    if written != blocks * steps:
        raise SystemExit(f"asked for {blocks * steps} step records, got {written}")
    return statistics.median(differences) * 1e6


def main() -> int:
    """Print what was asked and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--blocks", type=int, default=20)
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for name, limit in LIMITS_MICROSECONDS.items():
            found = overhead_microseconds(
                torch.device(options.device),
                memory=name.startswith("with "),
                blocks=options.blocks,
                steps=options.steps,
                folder=Path(folder),
            )
            missed |= found > limit
            sys.stdout.write(
                f"{options.device}, {name}: asked at most {limit:.0f}, got {found:.1f} microseconds a step\n"
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
