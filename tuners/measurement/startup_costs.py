"""What starting the runs of a study cost, by cause, and what forking them saved."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from flyball.tuners.base import TrialReport

LAUNCHER = "launcher"
"""What passes before a rank's own process starts."""
CAUSES = {
    LAUNCHER: "the launcher",
    "interpreter": "Python's start",
    "imports": "imports",
    "script": "the script, before its engine",
    "process_group": "joining the process group",
    "cuda": "the CUDA driver and context",
    "op_builds": "building DeepSpeed's operators",
    "engine": "deepspeed.initialize",
    "data": "data sets and loaders",
    "first_step": "the first step",
    "compile": "torch.compile",
}
"""The parts of the journal's ``startup`` record in words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StartupCost:
    """Runs that were started by one launcher."""

    launcher: str
    runs: int
    seconds: float
    """Median from the spawn to the first step of the slowest rank."""
    waited_seconds: float
    """Of all of them together: for the imports of the server that they are forked from."""
    causes: tuple[tuple[str, float], ...]
    """In words, with the median seconds of each in the runs that tell; the greatest first."""


def startup_costs(trials: Sequence[TrialReport]) -> list[StartupCost]:
    """Return what the starts of runs that made a first step cost, by launcher, the dearest first."""
    launched: dict[str, list[TrialReport]] = {}
    for trial in trials:
        if trial.startup_seconds is not None:
            launched.setdefault(trial.launcher, []).append(trial)
    costs = [
        StartupCost(
            launcher=launcher,
            runs=len(alike),
            seconds=median(trial.startup_seconds or 0.0 for trial in alike),
            waited_seconds=sum(trial.waited_seconds for trial in alike),
            causes=tuple(_causes(alike)),
        )
        for launcher, alike in launched.items()
    ]
    return sorted(costs, key=lambda cost: -cost.seconds)


def saved_seconds(costs: Sequence[StartupCost]) -> float:
    """Return what all runs would have spent more, had the dearest launcher started them, by the medians.

    Below zero where waiting for the server was not worth it.
    """
    dearest = max((cost.seconds for cost in costs), default=0.0)
    return sum(cost.runs * (dearest - cost.seconds) - cost.waited_seconds for cost in costs)


def startup_parts(trial: TrialReport) -> dict[str, float]:
    """Return the seconds of a run's start by part (journal's ``startup``); empty where they are not known."""
    return dict((trial.measurement.telemetry if trial.measurement else {}).get("startup") or {})


def _causes(trials: Sequence[TrialReport]) -> list[tuple[str, float]]:
    found: dict[str, list[float]] = {}
    for trial in trials:
        parts = startup_parts(trial)
        if parts:
            parts[LAUNCHER] = max(0.0, (trial.startup_seconds or 0.0) - sum(parts.values()))
        for part, seconds in parts.items():
            found.setdefault(part, []).append(seconds)
    medians = [(CAUSES.get(part, part), median(seconds)) for part, seconds in found.items()]
    return sorted((each for each in medians if each[1] >= 0.005), key=lambda each: -each[1])
