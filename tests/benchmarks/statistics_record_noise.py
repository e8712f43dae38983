"""Record how long real training steps take, run after run: the noise that the statistics are judged on.

Every run is a process of its own, forked from one that has imported torch, and trains the same small
network, so whatever differs between two runs is the machine's own doing: placement, neighbours, slow drift.

    python tests/benchmarks/statistics_record_noise.py --runs 160 tests/benchmarks/data/step_noise.json
"""

import argparse
import itertools
import json
import multiprocessing
import platform
import time
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch._dynamo  # an optimizer's first step imports it: before the fork it costs once

WIDTH = 512
BATCH = 64
LAYERS = 6


def train(steps: int, sender: Connection) -> None:
    """Send the wall-clock microseconds of each optimizer step of one fresh run."""
    torch.set_num_threads(1)
    layers = [layer for _ in range(LAYERS) for layer in (torch.nn.Linear(WIDTH, WIDTH), torch.nn.GELU())]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    batch = torch.randn(BATCH, WIDTH)
    boundaries = [time.perf_counter_ns()]
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch).square().mean().backward()
        optimizer.step()
        boundaries.append(time.perf_counter_ns())
    sender.send([(b - a) // 1000 for a, b in itertools.pairwise(boundaries)])
    sender.close()


def record(runs: int, steps: int, pause_seconds: float) -> list[list[int]]:
    """Return the step times in microseconds of ``runs`` runs, in the order in which they were made."""
    context = multiprocessing.get_context("fork")
    recorded = []
    for _ in range(runs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=train, args=(steps, sender))
        process.start()
        recorded.append(receiver.recv())
        process.join()
        time.sleep(pause_seconds)
    return recorded


def main() -> None:
    """Record and write the fixture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--runs", type=int, default=160)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--pause-seconds", type=float, default=0.5)
    arguments = parser.parse_args()
    recorded = record(arguments.runs, arguments.steps, arguments.pause_seconds)
    about = {"torch": torch.__version__, "machine": platform.machine(), "unit": "microseconds a step"}
    rows = ",\n".join(json.dumps(row, separators=(",", ":")) for row in recorded)
    arguments.path.write_text(f'{{"about": {json.dumps(about)},\n"runs": [\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
