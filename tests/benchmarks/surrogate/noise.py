"""The noise of recorded runs, replayed in the order in which it was recorded.

What is drawn is where a study begins in the record, in which direction it goes through it, and where a run's
steps begin: slow drift between runs, each run's own luck and the ups and downs within it stay as they were.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DATA = Path(__file__).parents[1] / "data"
RECORDS = {"cpu": "step_noise.json", "cpu-busy": "step_noise_busy.json", "h100": "gpu_h100.json"}
WARMUP = 2
"""Leading steps of a recorded run that are slow by themselves."""
HEAVY = "heavy"
"""Noise that nobody recorded: heavy tails, a random walk between runs, bursts within them."""
HEAVY_RUNS = 120
HEAVY_STEPS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """Runs of one and the same configuration."""

    name: str
    factors: tuple[Array, ...]
    """A run each: the time of every step over the record's median step, warm-up first."""
    startups: tuple[float, ...]
    """Seconds from spawn to the first step, as recorded; any number of them."""


def names() -> tuple[str, ...]:
    """Return every noise that there is."""
    return (*RECORDS, HEAVY)


def load(name: str) -> Recording:
    """Return one recording by its name.

    Raises:
        KeyError: there is none of this name.
    """
    if name == HEAVY:
        return made_up()
    content = json.loads((DATA / RECORDS[name]).read_text())
    runs = [np.array(run, dtype=np.float64) for run in content["runs"]]
    middle = float(np.median(np.concatenate([run[WARMUP:] for run in runs])))
    # The CPU's recordings are of a network alone; a forked trial of the workload took 1.2 to 4.3 s.
    startups = content.get("startups") or [1.2, 1.5, 1.9, 2.6, 4.3]
    return Recording(name=name, factors=tuple(run / middle for run in runs), startups=tuple(startups))


def made_up(seed: int = 7) -> Recording:
    """Return runs with tails of Student's t of three degrees, a drifting machine and slow stretches."""
    draw = np.random.default_rng(seed)
    drift, runs = 0.0, []
    for _ in range(HEAVY_RUNS):
        drift = 0.9 * drift + 0.03 * draw.standard_normal()
        luck = 0.03 * draw.standard_t(3)
        steps = np.exp(drift + luck + 0.03 * draw.standard_t(3, HEAVY_STEPS))
        if draw.random() < 0.2:
            start = int(draw.integers(HEAVY_STEPS // 2))
            steps[start : start + HEAVY_STEPS // 3] *= 1.4
        steps[0] *= 3.0
        runs.append(np.clip(steps, 0.2, 20.0))
    return Recording(name=HEAVY, factors=tuple(runs), startups=(1.0, 1.5, 2.0, 6.0))


@dataclass(kw_only=True, slots=True)
class Replay:
    """One study's way through a recording."""

    recording: Recording
    draw: random.Random
    _position: int = field(init=False)
    _direction: int = field(init=False)

    def __post_init__(self) -> None:
        self._position = self.draw.randrange(len(self.recording.factors))
        self._direction = self.draw.choice((-1, 1))

    def next_run(self) -> tuple[float, Array]:
        """Return start-up seconds and step factors of the next run; its steady steps go round in a circle."""
        run = self.recording.factors[self._position]
        self._position = (self._position + self._direction) % len(self.recording.factors)
        first, steady = run[:1], run[1:]
        turned = np.roll(steady, -self.draw.randrange(len(steady)))
        return self.draw.choice(self.recording.startups), np.concatenate((first, turned))


def between_runs(runs: Sequence[Array]) -> float:
    """Return the standard deviation of a run's log rate, from successive runs: slow drift is left out."""
    logs = np.array([float(np.log(run[WARMUP:].mean())) for run in runs])
    return float(np.sqrt(np.mean(np.diff(logs) ** 2) / 2))
