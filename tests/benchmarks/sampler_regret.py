"""How near the search comes to the best point within a quarter of the grid, on synthetic surfaces.

Run: ``python tests/benchmarks/sampler_regret.py [surfaces]``. A surface is the throughput of a two-rank job
over micro batch, ZeRO stage, data type on the wire and threads (96 points): overhead a forward, communication
a step and, at stages 2 and 3, a forward, threads, caches, and a memory limit; every figure drawn anew for
each surface. Each measurement has a relative error of 3%. Two figures a search, over the best of the grid:
the true speed of the point that measured best, and of the best among the three that did (which a study
verifies).
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from optuna.storages import InMemoryStorage

from flyball.tuners.base import Assignment
from flyball.tuners.legality.context import Context
from flyball.tuners.search.sampler import Search
from flyball.tuners.search.surrogate import OUT_OF_MEMORY
from flyball.tuners.space.space import Space, load_space
from flyball.tuners.space.space_file import read_wishes

NOISE = 0.03
TRIALS = 24
SHARE = 32
CONTEXT = Context(
    world_size=2, device="cpu", cores=2, threads=2, deepspeed_version="0.19.8", torch_version="2.13.0"
)
CONFIG = {
    "train_micro_batch_size_per_gpu": 1,
    "gradient_accumulation_steps": SHARE,
    "zero_optimization": {"stage": 3},
}
FOUR_KNOBS = ("micro_batch", "zero_stage", "communication_data_type", "threads")


def four_knob_space() -> Space:
    """The grid of 96 points."""
    whole = load_space(None, CONFIG, CONTEXT)
    entries = tuple(entry for entry in whole.entries if entry.knob.name in FOUR_KNOBS)
    return Space(situation=whole.situation, entries=entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """One job's true throughput, in samples per unit of time."""

    forward: float
    communication: float
    stages: tuple[float, ...]
    every_forward: float
    wire: float
    threads: float
    cache: float
    interaction: float
    limit: float

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Surface":
        """A plausible job."""
        return cls(
            forward=random.uniform(0.3, 6),
            communication=random.uniform(0.4, 6.4),
            stages=(1.0, random.uniform(0.9, 1.15), random.uniform(1, 2), random.uniform(1.3, 4)),
            every_forward=random.uniform(0, 0.08),
            wire=random.uniform(0.5, 1.1),
            threads=random.uniform(0.75, 1.25),
            cache=random.uniform(0, 0.12),
            interaction=random.uniform(-0.05, 0.05),
            limit=random.uniform(2, 9),
        )

    def speed(self, point: Assignment) -> float | None:
        """Throughput at a point, or None where it runs out of memory."""
        micro, stage = int(point["micro_batch"]), int(point["zero_stage"])
        doublings = math.log2(micro)
        if doublings - (0, 0.3, 0.6, 1.5)[stage] > self.limit:
            return None
        forwards = SHARE // micro
        seconds = forwards * (self.forward + micro * (1 + self.cache * max(0, doublings - 3)))
        if point["threads"] == 2:
            seconds *= self.threads * (1 + self.interaction * doublings)
        wire = self.wire if point["communication_data_type"] == "bf16" else 1.0
        rounds = 1 + self.every_forward * (forwards - 1) if stage >= 2 else 1.0
        others = sum(
            0.02 * math.sin(7.0 * position + len(name)) * (value != "default")
            for position, (name, value) in enumerate(sorted(point.items()))
            if name not in FOUR_KNOBS and isinstance(value, bool) and value
        )
        return SHARE / (seconds + self.communication * self.stages[stage] * wire * rounds) * math.exp(others)


def search(space: Space, surface: Surface, seed: int, tpe_every: int) -> dict[str, float]:
    """Run one search and return its figures."""
    random = np.random.default_rng(seed)
    study = Search(f"regret-{seed}", InMemoryStorage(), seed, space, tpe_every=tpe_every)
    study.enqueue(space.baseline_assignment())
    measured: list[tuple[float, float]] = []
    for _ in range(TRIALS):
        proposal = study.ask()
        if proposal is None:
            break
        speed = surface.speed(proposal.assignment)
        if speed is None:
            study.tell_infeasible(proposal.trial, OUT_OF_MEMORY)
            continue
        seen = speed * math.exp(random.normal(0, NOISE))
        study.tell_completed(proposal.trial, seen)
        measured.append((seen, speed))
    return figures(measured, best_of(space, surface))


def random_search(space: Space, surface: Surface, seed: int, _: int) -> dict[str, float]:
    """The same budget spent on points drawn without repetition."""
    random = np.random.default_rng(seed)
    points = list(space.enumerate()) if space.size() < 5000 else [space.draw(random) for _ in range(TRIALS)]
    order = random.permutation(len(points))[: TRIALS - 1]
    measured = []
    for point in [space.baseline_assignment(), *(points[int(index)] for index in order)]:
        speed = surface.speed(point)
        if speed is not None:
            measured.append((speed * math.exp(random.normal(0, NOISE)), speed))
    return figures(measured, best_of(space, surface))


def best_of(space: Space, surface: Surface) -> float:
    """The best true speed of the grid."""
    return max(surface.speed(point) or 0.0 for point in space.enumerate())


def figures(measured: list[tuple[float, float]], best: float) -> dict[str, float]:
    """What a search is judged by."""
    ranked = sorted(measured, reverse=True)
    return {
        "first": ranked[0][1] / best,
        "three": max(speed for _, speed in ranked[:3]) / best,
        "out_of_memory": TRIALS - len(measured),
    }


def main() -> None:
    """Print one line a strategy."""
    surfaces = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    strategies: dict[str, tuple[Callable[[Space, Surface, int, int], dict[str, float]], int]] = {
        "random": (random_search, 0),
        "first guesses, then TPE": (search, 1),
        "first guesses, then surrogate with every 3rd TPE": (search, 3),
        "first guesses, then surrogate with every 4th TPE": (search, 4),
        "first guesses, then surrogate": (search, 1_000),
    }
    space = four_knob_space()
    sys.stdout.write(
        f"{space.size()} points, {TRIALS} trials, {surfaces} surfaces, {len(read_wishes(None))} knobs\n"
    )
    for name, (run, every) in strategies.items():
        rows = [run(space, Surface.drawn(np.random.default_rng(1000 + n)), n, every) for n in range(surfaces)]
        sys.stdout.write(f"{name}: {summary(rows)}\n")
        sys.stdout.flush()


def summary(rows: list[dict[str, float]]) -> str:
    """Medians, tenth percentiles and the share of searches that reached 0.97."""
    parts = []
    for key in ("first", "three"):
        values = np.array([row[key] for row in rows])
        parts.append(
            f"{key}: median {np.median(values):.3f}, 10th percentile {np.quantile(values, 0.1):.3f}, "
            f"at least 0.97 in {np.mean(values >= 0.97):.0%}"
        )
    parts.append(f"out of memory {np.mean([row['out_of_memory'] for row in rows]):.1f}")
    return "; ".join(parts)


if __name__ == "__main__":
    main()
