"""An engine on a bench: series in plain lists, alerts in short."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable
from flyball.collectors.catalog import RUN_INFO
from flyball.history.alert_records import Alert, Transition
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Comparison, Expression, Matcher, Operand, Rule

GAUGE = Metric(name="load_ratio", kind=Kind.GAUGE, unit="ratio", help="", labels=("run", "rank"))
OTHER = Metric(name="other_ratio", kind=Kind.GAUGE, unit="ratio", help="", labels=("run", "rank"))
COUNTER = Metric(name="work_total", kind=Kind.COUNTER, unit="", help="", labels=("run", "rank"))
HISTOGRAM = Metric(
    name="wait_seconds",
    kind=Kind.HISTOGRAM,
    unit="seconds",
    help="",
    labels=("run", "rank"),
    bounds=(0.1, 0.5, 1.0),
)
LABELS = ("r", "0")

Value = float | Distribution | Unavailable | None
"""None for a reading that lacks the series."""


def rule(
    metric: Metric = GAUGE,
    aggregate: Aggregate = Aggregate.LAST,
    window: float = 0.0,
    *,
    comparison: Comparison = Comparison.ABOVE,
    threshold: float = -math.inf,
    matchers: Sequence[Matcher] = (),
    offset: float = 0.0,
    **rest: Any,
) -> Rule:
    """One named Load, of one operand, that alerts on any value unless told otherwise."""
    operand = Operand(
        metric=metric,
        matchers=tuple(matchers),
        aggregate=aggregate,
        window_seconds=window,
        offset_seconds=offset,
    )
    whole = {"alert": "Load", "expression": Expression(left=operand), **rest}
    return Rule(comparison=comparison, threshold=threshold, **whole)


def sample(
    metric: Metric, value: float | Distribution | Unavailable, labels: Sequence[str] = LABELS
) -> Sample:
    return Sample(metric=metric, labels=tuple(labels), value=value, time=0.0)


def run_info(phase: str, run: str = "r", rank: str = "0", uuid: str = "u") -> Sample:
    return sample(RUN_INFO, 1.0, (run, rank, "h", "0", uuid, phase, ""))


def brief(transitions: Sequence[Transition]) -> list[tuple[str, str]]:
    """Rank and what became of its alert."""
    return [(each.alert.labels.get("rank", ""), each.alert.status.value) for each in transitions]


@dataclass
class Bench:
    """Plays readings a second apart to an engine and evaluates after each."""

    engine: Engine
    now: float = 1000.0
    log: list[tuple[float, str]] = field(default_factory=list)
    """Time since the first reading, and what became of the alert of any series."""

    def play(self, values: Sequence[Value], metric: Metric = GAUGE, step: float = 1.0) -> list[str]:
        """One series of one source; None where the reading lacks it. Returns what changed."""
        before = len(self.log)
        for value in values:
            self.read([] if value is None else [sample(metric, value)])
            self.now += step
        return [status for _, status in self.log[before:]]

    def read(self, samples: Sequence[Sample], source: str = "source") -> tuple[Transition, ...]:
        """One reading and an evaluation at its time."""
        self.engine.observe(source, self.now, samples)
        return self.evaluate()

    def evaluate(self) -> tuple[Transition, ...]:
        transitions = self.engine.evaluate(self.now)
        self.log += [(each.time - 1000.0, each.alert.status.value) for each in transitions]
        return transitions


def values(engine: Engine) -> Mapping[str, float]:
    """Of all alerts, by rank."""
    return {alert.labels.get("rank", ""): alert.value for alert in engine.active()}


def only(engine: Engine) -> Alert:
    """The one alert that there is."""
    (alert,) = engine.active()
    return alert
