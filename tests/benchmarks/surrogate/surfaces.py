"""What is true in a simulated study: how fast each point is.

``fitted`` surfaces come from recorded grids: main effects of the knobs on the logarithm of the rate, by least
squares, and what they leave over at each recorded point. A study gets its own job of that family: each
knob's effect is drawn larger or smaller, and so is how much of the rest, so that no search can be tuned to
one surface.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tests.benchmarks.surrogate.jobs import CPU, SimulatedJob
from tests.benchmarks.surrogate.noise import DATA
from tests.benchmarks.surrogate.runs import TrueSpeed

from flyball.tuners.base import Assignment
from flyball.tuners.space.space import Space

CPU_GRID, GPU_GRID = "cpu_grid.json", "gpu_h100.json"
OF_RECORD = {
    "fused": ("fused_optimizer", bool),
    "recompute": ("activation_checkpointing", bool),
    "sync": ("throughput_timer_synchronized", bool),
    "compiled": ("compile", bool),
}
"""Field of the GPU's record to its knob."""
LARGER, SMALLER = 1.3, 0.5
"""Between which a knob's effect is drawn, times the recorded one."""
OUT_OF_MEMORY_CHANCE = 0.5
"""That the largest micro batch runs out of memory, unless activations are recomputed."""

Point = frozenset[tuple[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Effects on the log rate."""

    middle: float
    effects: Mapping[tuple[str, Any], float]
    rest: Mapping[Point, float]


def recorded(job: SimulatedJob) -> list[tuple[dict[str, Any], float]]:
    """Return the recorded points of a job, knob by knob, with their samples a second."""
    if job is CPU:
        rows = json.loads((DATA / CPU_GRID).read_text())["grid"]
    else:
        rows = json.loads((DATA / GPU_GRID).read_text())["grid"]
    knobs = {entry.knob.name for entry in job.space().entries}
    found = []
    for row in rows:
        named = {OF_RECORD.get(key, (key, bool))[0]: value for key, value in row.items()}
        found.append(({key: named[key] for key in named if key in knobs}, float(row["samples_per_second"])))
    return found


@cache
def fit(job_name: str) -> Fit:
    """Fit the recorded grid of the job called ``cpu`` or ``gpu``."""
    from tests.benchmarks.surrogate.jobs import GPU

    job = CPU if job_name == "cpu" else GPU
    rows = recorded(job)
    columns = sorted({pair for point, _ in rows for pair in point.items()}, key=str)
    design = np.array(
        [[1.0, *(float(point.get(k) == v and k in point) for k, v in columns)] for point, _ in rows]
    )
    logs = np.log([rate for _, rate in rows])
    solved, *_ = np.linalg.lstsq(design, logs, rcond=None)
    rest = logs - design @ solved
    return Fit(
        middle=float(solved[0]),
        effects={pair: float(value) for pair, value in zip(columns, solved[1:], strict=True)},
        rest={frozenset(point.items()): float(left) for (point, _), left in zip(rows, rest, strict=True)},
    )


def fitted(job: SimulatedJob, space: Space, seed: int) -> TrueSpeed:
    """Return a job of the recorded family."""
    draw = random.Random(f"surface {seed}")
    found = fit("cpu" if job is CPU else "gpu")
    scale = {entry.knob.name: draw.uniform(SMALLER, LARGER) for entry in space.entries}
    of_rest = draw.uniform(0.0, 1.0)
    largest = max(space.entry("micro_batch").values, key=float)
    runs_out = draw.random() < OUT_OF_MEMORY_CHANCE

    def speed(point: Assignment) -> float | None:
        if runs_out and point["micro_batch"] == largest and not point.get("activation_checkpointing"):
            return None
        log = found.middle + sum(scale[k] * found.effects.get((k, v), 0.0) for k, v in point.items())
        return math.exp(log + of_rest * found.rest.get(frozenset(point.items()), 0.0))

    return speed


def alike(job: SimulatedJob) -> TrueSpeed:
    """Return a job that no knob changes."""
    return lambda point: job.samples_per_second


@dataclass(frozen=True, kw_only=True, slots=True)
class Planted:
    """A job with one knob that matters, by one of its values."""

    knob: str
    value: Any
    gain: float
    base: float

    def speed(self, point: Assignment) -> float:
        """Return samples a second."""
        return self.base * (1 + self.gain * self.holds(point))

    def holds(self, point: Mapping[str, Any]) -> bool:
        """Whether a point has what was planted."""
        return point.get(self.knob) == self.value


def planted(job: SimulatedJob, space: Space, gain: float, seed: int) -> Planted:
    """Plant a gain on a value that is not the user's own; which one is drawn."""
    draw = random.Random(f"planted {seed}")
    own = space.baseline_assignment()
    entry = draw.choice([entry for entry in space.entries if entry.knob.name in own])
    values: Sequence[Any] = [value for value in entry.values if value != entry.current]
    name = entry.knob.name
    return Planted(knob=name, value=draw.choice(values), gain=gain, base=job.samples_per_second)


def best(space: Space, speed: TrueSpeed) -> float:
    """Return the speed of the fastest legal point."""
    return max(speed(point) or 0.0 for point in points(space))


_listed: dict[tuple[Any, ...], list[Assignment]] = {}


def points(space: Space) -> list[Assignment]:
    """Return every legal point; the same list for the same space."""
    key = tuple((entry.knob.name, entry.values, entry.current) for entry in space.entries)
    if key not in _listed:
        _listed[key] = list(space.enumerate())
    return _listed[key]
