"""Search as people write it: propose, launch once from cold for a fixed number of steps, keep the best.

The user's own configuration is the first trial. What flyball applies through its probe cannot be asked of
these peers, since a script without flyball has no such switch; of the rest of the space they get all, its
rules of legality included, so that none of their time goes to configurations that DeepSpeed would refuse.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from tests.benchmarks._outside_run import OutsideRun
from tests.benchmarks.peers.base import (
    CUT_OFF,
    FAILED,
    MEASURED,
    OUT_OF_MEMORY,
    Bench,
    Found,
    Pick,
    Trial,
)

from flyball.tuners.base import Assignment
from flyball.tuners.knobs.knob import Applied
from flyball.tuners.space.space import Space


class Proposer(Protocol):
    """Says which point is next, and hears what came of it."""

    def ask(self) -> Assignment | None:
        """Return a legal point, or None when there is none left."""
        ...

    def tell(self, rate: float | None) -> None:
        """Take samples a second at the point that was asked for last; None where it did not run."""
        ...


Propose = Callable[[Space, int], Proposer]
"""A proposer for a space and a seed."""


class SingleRunPeer:
    """A peer that is a proposer in the loop of this module."""

    def __init__(self, name: str, summary: str, propose: Propose) -> None:
        self.name, self.summary, self._propose = name, summary, propose

    def unavailable(self, bench: Bench) -> str | None:
        """It runs wherever the script does."""
        del bench
        return None

    def search(self, bench: Bench, folder: Path, *, seed: int, budget_seconds: float) -> Found:
        """Make single runs until the budget, the points or the most trials are used up."""
        space = without_probe(bench.space)
        proposer = self._propose(space, seed)
        began = bench.clock.monotonic()
        trials: list[Trial] = []
        ended = "by itself"
        points: list[Assignment] = []
        while bench.most_trials is None or len(trials) < bench.most_trials:
            left = budget_seconds - (bench.clock.monotonic() - began)
            if left <= 0:
                ended = "budget"
                break
            point = proposer.ask() if trials else space.baseline_assignment()
            if point is None:
                break
            configuration = space.render(point)
            run = bench.measure(configuration, folder / "trials" / str(len(trials)), left)
            trial = seen(run, bench, dict(point), configuration.ds_config, bench.clock.monotonic() - began)
            if trials and trial.outcome != CUT_OFF:
                proposer.tell(trial.samples_per_second)
            points.append(point)
            trials.append(trial)
        spent = bench.clock.monotonic() - began
        found = Found(
            peer=self.name,
            seed=seed,
            budget_seconds=budget_seconds,
            trials=tuple(trials),
            search_seconds=spent,
            ended=ended,
            notes=notes(bench.space, space),
        )
        return with_best(found, space, points)


def seen(
    run: OutsideRun, bench: Bench, settings: Assignment, ds_config: Mapping[str, Any], at_seconds: float
) -> Trial:
    """Return a run as a trial, its rate in samples."""
    outcome, rate = FAILED, None
    if run.steps_per_second is not None:
        outcome = MEASURED
        rate = run.steps_per_second * bench.global_batch(ds_config)
    elif run.out_of_memory:
        outcome = OUT_OF_MEMORY
    elif run.timed_out:
        outcome = CUT_OFF
    return Trial(
        at_seconds=at_seconds, outcome=outcome, samples_per_second=rate, settings=settings, reason=run.reason
    )


def with_best(found: Found, space: Space, points: list[Assignment]) -> Found:
    """Return the search with its fastest single run as its pick."""
    rated = [
        (trial.samples_per_second, point)
        for trial, point in zip(found.trials, points, strict=False)
        if trial.samples_per_second
    ]
    if not rated:
        last = found.trials[-1].reason if found.trials else "no time for a single run"
        return replace(found, reason=f"no run was measured: {last}")
    best = space.render(max(rated, key=lambda entry: entry[0])[1])
    pick = Pick(ds_config=best.ds_config, arguments=best.arguments, environment=best.environment)
    return replace(found, pick=pick)


def without_probe(space: Space) -> Space:
    """Return the part of a space that a user can apply without flyball."""
    entries = tuple(entry for entry in space.entries if entry.knob.applied is not Applied.PROBE)
    return replace(space, entries=entries)


def notes(whole: Space, part: Space) -> tuple[str, ...]:
    """Return what the report says of the space that was searched."""
    left_out = [entry.knob.name for entry in whole.entries if entry not in part.entries]
    names = ", ".join(entry.knob.name for entry in part.entries)
    return (
        f"space: {names} ({part.size()} points)",
        *([f"not in its space, applied by flyball's probe alone: {', '.join(left_out)}"] if left_out else []),
    )
