"""The report's drawings, as coordinates that the template writes as inline SVG."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flyball.tuners.base import Phase, TrialReport
from flyball.tuners.objective import Objective, figure
from flyball.tuners.search.drift_report import DriftReport
from flyball.tuners.verification.verification import VerificationResult

WIDTH, HEIGHT = 640.0, 220.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 12.0, 34.0
TICKS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """One point with the text that a pointer over it shows."""

    x: float
    y: float
    title: str
    kind: str
    """``plain`` or ``good``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tick:
    """A label on an axis at a coordinate."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A drawing of marks, with a line where there is one."""

    title: str
    x_label: str
    marks: tuple[Mark, ...]
    line: str
    """Points of a polyline, or empty."""
    rule_y: float | None
    """A horizontal line to hold the marks against."""
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """Maps values onto a stretch of the drawing; a range of no width gets one."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the coordinate of a value."""
        width = (self.high - self.low) or 1.0
        return round(self.start + (value - self.low) / width * (self.end - self.start), 1)

    def ticks(self, label: Callable[[float], str]) -> tuple[Tick, ...]:
        """Return evenly spaced labels."""
        values = [self.low + (self.high - self.low) * index / TICKS for index in range(TICKS + 1)]
        return tuple(Tick(at=self.at(value), label=label(value)) for value in values)


def horizontal(values: Sequence[float]) -> Scale:
    """Return the scale of an x axis that starts at zero."""
    return Scale(low=0.0, high=max(values) or 1.0, start=LEFT, end=WIDTH - RIGHT)


def vertical(values: Sequence[float]) -> Scale:
    """Return the scale of a y axis with a little room above and below; nothing here is ever below zero."""
    room = (max(values) - min(values)) * 0.08 or abs(max(values)) * 0.05 or 1.0
    return Scale(low=max(0.0, min(values) - room), high=max(values) + room, start=HEIGHT - BOTTOM, end=TOP)


def best_so_far(trials: Sequence[TrialReport]) -> Chart | None:
    """Return what baseline and search did over the time spent, with the best so far as a line."""
    points, elapsed, best, objective = [], 0.0, 0.0, Objective.THROUGHPUT
    for trial in trials:
        elapsed += trial.total_seconds
        if trial.measurement and trial.phase in (Phase.BASELINE, Phase.SEARCH):
            merit, objective = trial.measurement.merit.point, trial.measurement.objective
            points.append((elapsed, trial.measurement.value.point, merit > best, trial.number))
            best = max(best, merit)
    if len(points) < 2:
        return None
    unit = objective.terms.unit
    x, y = horizontal([point[0] for point in points]), vertical([point[1] for point in points])
    marks = tuple(
        Mark(
            x=x.at(when),
            y=y.at(rate),
            kind="good" if better else "plain",
            title=f"trial {number}: {figure(rate)} {unit} after {when:.0f} s",
        )
        for when, rate, better, number in points
    )
    stairs, level = [], None
    for mark in marks:
        if mark.kind == "good":
            stairs += [f"{mark.x},{level if level is not None else mark.y}", f"{mark.x},{mark.y}"]
            level = mark.y
    stairs.append(f"{marks[-1].x},{level}")
    return Chart(
        title=f"Best so far, {unit}",
        x_label="seconds of trials",
        marks=marks,
        line=" ".join(stairs),
        rule_y=None,
        x_ticks=x.ticks("{:,.0f}".format),
        y_ticks=y.ticks(figure),
    )


def drift_chart(found: DriftReport) -> Chart | None:
    """Return the speed of the machine over the search; nothing where it kept it."""
    if not found.noticed:
        return None
    x = horizontal([seconds for _, seconds, _ in found.course])
    y = vertical([1.0, *(speed for _, _, speed in found.course)])
    marks = tuple(
        Mark(
            x=x.at(seconds),
            y=y.at(speed),
            kind="plain",
            title=f"trial {number}: {speed:.3f} after {seconds:.0f} s",
        )
        for number, seconds, speed in found.course
    )
    return Chart(
        title="Speed of the machine during the search, over that of the first run",
        x_label="seconds since the first run",
        marks=marks,
        line=" ".join(f"{mark.x},{mark.y}" for mark in marks),
        rule_y=y.at(1.0),
        x_ticks=x.ticks("{:,.0f}".format),
        y_ticks=y.ticks("{:.3f}".format),
    )


def pairs_chart(result: VerificationResult) -> Chart | None:
    """Return each verified pair's ratio to the baseline, a round at a time."""
    dots = [
        (pair.round + 1, pair.candidate / pair.baseline, candidate.key)
        for candidate in result.candidates
        for pair in candidate.pairs
    ]
    if not dots:
        return None
    rounds = horizontal([dot[0] for dot in dots])
    ratios = vertical([1.0, *(dot[1] for dot in dots)])
    marks = tuple(
        Mark(
            x=rounds.at(number),
            y=ratios.at(ratio),
            kind="good" if key == result.winner else "plain",
            title=f"{key}, round {number}: {ratio:.3f}x",
        )
        for number, ratio, key in dots
    )
    most = max(dot[0] for dot in dots)
    every = max(1, most // 8)
    return Chart(
        title="Verification: candidate over baseline, pair by pair",
        x_label="round",
        marks=marks,
        line="",
        rule_y=ratios.at(1.0),
        x_ticks=tuple(Tick(at=rounds.at(n), label=str(n)) for n in range(1, most + 1, every)),
        y_ticks=ratios.ticks("{:.2f}".format),
    )
