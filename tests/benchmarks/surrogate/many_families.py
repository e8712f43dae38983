"""A job of many families, each with a speed and a taste for large micro batches of its own."""

import math
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
from optuna.storages import InMemoryStorage
from tests.benchmarks.surrogate.studies import TRIALS, quiet

from flyball.tuners.base import Assignment
from flyball.tuners.legality.context import Context
from flyball.tuners.search.sampler import Search
from flyball.tuners.space.families import Families
from flyball.tuners.space.space import Space, load_space

CONTEXT = Context(
    world_size=2,
    data_parallel_size=2,
    device="cuda",
    cores=16,
    activation_checkpointing=False,
    deepspeed_version="0.19.8",
    torch_version="2.11.0",
)
CONFIG = {
    "train_batch_size": 64,
    "train_micro_batch_size_per_gpu": 4,
    "bf16": {"enabled": True},
    "optimizer": {"type": "AdamW", "params": {"lr": 0.0001, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
}
KNOBS = """knobs:
  micro_batch: [1, 2, 4, 8, 16]
  zero_stage: [0, 1, 2, 3]
  activation_checkpointing: [false, true]
  compile: [false, true]
  communication_data_type: [fp32, bf16]
  fused_optimizer: [false, true]
  throughput_timer_synchronized: [true, false]
"""
OF_FAMILY, OF_VALUE, OF_TASTE = 0.12, 0.08, 0.05
"""Standard deviations in log rate: each family, of each knob's value, of what twice the micro batch gives."""
SLOPE = (0.03, 0.17)
"""Log rate for twice the micro batch, over all families."""


@cache
def space() -> Space:
    """Return 640 points in 32 families."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "space.yaml"
        path.write_text(KNOBS)
        return load_space(path, CONFIG, CONTEXT)


@cache
def points() -> tuple[Assignment, ...]:
    """Return every legal point."""
    return tuple(space().enumerate())


def lost(seed: int, *, screens: bool, noise: float) -> float:
    """Return the regret of what measured best after a search.

    Args:
        seed: of the job and of the noise.
        screens: whether families are screened.
        noise: standard deviation of a run's log rate.
    """
    quiet()
    draw = np.random.default_rng([seed, 7])
    families = Families(space=space())
    known = sorted({families.of(point) for point in points()}, key=str)
    speeds = {family: draw.normal(0, OF_FAMILY) for family in known}
    tastes = {family: draw.normal(0, OF_TASTE) for family in known}
    slope = draw.uniform(*SLOPE)
    values = {
        (entry.knob.name, value): draw.normal(0, OF_VALUE)
        for entry in space().entries
        if entry.knob.name != "micro_batch"
        for value in entry.values
    }

    def true(point: Assignment) -> float:
        family = families.of(point)
        of_batch = (slope + tastes[family]) * math.log2(float(point["micro_batch"]))
        return speeds[family] + of_batch + sum(values.get(pair, 0.0) for pair in point.items())

    search = Search("families", InMemoryStorage(), seed, space(), trials=TRIALS if screens else 0)
    search.enqueue(space().baseline_assignment())
    seen: list[tuple[float, float]] = []
    while len(seen) <= TRIALS and (proposal := search.ask()) is not None:
        log = true(proposal.assignment)
        seen.append((log + draw.normal(0, noise), log))
        search.tell_completed(proposal.trial, math.exp(seen[-1][0]))
    return 1 - math.exp(max(seen)[1] - max(map(true, points())))
