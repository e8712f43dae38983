"""Feeds the readings to the rules, in a thread of its own; nothing else touches the engine."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flyball.agent.daemon.readings import Reading
from flyball.clock import Clock
from flyball.collectors.base import Sample
from flyball.history.alert_records import Alert, Transition
from flyball.policies.engine import Engine
from flyball.policies.rule import Rule

OWN = "agent"
"""The source of what the agent says of itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """What one evaluation found."""

    time: float
    """Seconds since the epoch, by the evaluation's own time."""
    seconds: float
    """How long it took."""
    transitions: tuple[Transition, ...]
    active: tuple[Alert, ...]
    """Pending and firing."""


class EvaluationTime:
    """Seconds since the epoch that never go back: a wall clock that is set back moves no alert.

    A step ahead is taken over, as after a suspend: an hour that nobody saw is an outage.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ahead = clock.time() - clock.monotonic()

    def now(self) -> float:
        """The time of an evaluation now."""
        monotonic = self._clock.monotonic()
        self._ahead = max(self._ahead, self._clock.time() - monotonic)
        return monotonic + self._ahead


class Evaluation:
    """The engine and what it has seen. Made anywhere, used from one thread at a time.

    Args:
        rules: checked ones.
        clock: monotonic time, for how long a round takes, and wall time.
    """

    def __init__(self, rules: Sequence[Rule], clock: Clock) -> None:
        self._engine, self._clock = Engine(rules), clock
        self._time = EvaluationTime(clock)
        self._seen: dict[str, Reading] = {}

    def restore(self, alerts: Iterable[Alert], last_evaluated: float | None) -> tuple[Alert, ...]:
        """Go on with the alerts of the agent's last life, before the first round; return those that stand."""
        now = self._time.now()
        down = 0.0 if last_evaluated is None else max(0.0, now - last_evaluated)
        self._engine.restore(alerts, now=now, down_seconds=down)
        return self._engine.active()

    def round(self, readings: Mapping[str, Reading], own: Sequence[Sample] | None) -> Round:
        """Take in what is new and evaluate all rules.

        Args:
            readings: the last one of each collector; one that is the same object is not new.
            own: the agent's own metrics, or None where they are not read anew.
        """
        began, now = self._clock.monotonic(), self._time.now()
        for name in self._seen.keys() - readings.keys():
            del self._seen[name]
            self._engine.stale(name, now)
        for name, reading in readings.items():
            if self._seen.get(name) is not reading:
                self._seen[name] = reading
                self._engine.observe(name, now, reading.samples)
        if own is not None:
            self._engine.observe(OWN, now, own)
        transitions = self._engine.evaluate(now)
        return self._result(now, began, transitions)

    def change(self, rules: Sequence[Rule]) -> Round:
        """Take other rules."""
        began, now = self._clock.monotonic(), self._time.now()
        return self._result(now, began, self._engine.change(rules, now))

    def _result(self, now: float, began: float, transitions: tuple[Transition, ...]) -> Round:
        seconds = self._clock.monotonic() - began
        return Round(time=now, seconds=seconds, transitions=transitions, active=self._engine.active())
