"""What a study cost, in device hours, and when the gain has paid for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flyball.tuners.base import Interval, TrialReport

START_UP = "start-up"
BETWEEN_RUNS = "between runs"
SECONDS_IN_AN_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """Ranks times wall-clock time: what the study kept from other work."""

    devices: int
    """Ranks of the job: one GPU each, or on a CPU the ranks themselves."""
    unit: str
    """``GPU hours`` or ``rank hours``."""
    hours: Mapping[str, float]
    """Wall-clock hours by phase; start-up, of all phases, and the time between runs stand apart."""

    @property
    def wall_hours(self) -> float:
        """Return the hours from the first run to the last."""
        return sum(self.hours.values())

    @property
    def device_hours(self) -> float:
        """Return ranks times wall-clock hours."""
        return self.devices * self.wall_hours

    def by_phase(self) -> dict[str, float]:
        """Return the device hours of each phase."""
        return {phase: self.devices * hours for phase, hours in self.hours.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class Payback:
    """Hours of production with the recommended configuration that save as much as the study took."""

    point: float
    low: float
    high: float | None
    """None where the interval of the gain reaches down to no gain."""


def study_cost(reports: Sequence[TrialReport], *, devices: int, device: str, spent_seconds: float) -> Cost:
    """Return the cost of a study.

    Args:
        reports: every run, those before a resume included.
        devices: ranks of the job.
        device: ``cpu`` or ``cuda``.
        spent_seconds: wall-clock time of the whole study.
    """
    seconds: dict[str, float] = {}
    starting = 0.0
    for report in reports:
        start = min(report.total_seconds, report.waited_seconds + (report.startup_seconds or 0.0))
        starting += start
        seconds[report.phase.value] = seconds.get(report.phase.value, 0.0) + report.total_seconds - start
    made = sum(report.total_seconds for report in reports)
    every = {**seconds, START_UP: starting, BETWEEN_RUNS: max(0.0, spent_seconds - made)}
    return Cost(
        devices=max(1, devices),
        unit="GPU hours" if device == "cuda" else "rank hours",
        hours={phase: each / SECONDS_IN_AN_HOUR for phase, each in every.items()},
    )


def payback(cost: Cost, speedup: Interval | None) -> Payback | None:
    """Return after how long the study has paid for itself; None without a gain.

    An hour at a speed-up of s does what s hours did before, so it saves s - 1 of them.
    """
    if speedup is None or speedup.point <= 1:
        return None
    hours = cost.wall_hours
    return Payback(
        point=hours / (speedup.point - 1),
        low=hours / (speedup.high - 1),
        high=hours / (speedup.low - 1) if speedup.low > 1 else None,
    )
