"""The shapes that the parts of a study hand to one another."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flyball.runner.outcome import Outcome
from flyball.tuners.objective import Objective

if TYPE_CHECKING:
    # The history needs SQLAlchemy, which --help must not wait for.
    from flyball.history.alert_records import Alert

Value = bool | int | float | str
Assignment = Mapping[str, Value]
"""Knob name to value: one point of the space."""


class Phase(StrEnum):
    """What a run of the user's command is for."""

    BASELINE = "baseline"
    SEARCH = "search"
    REMEASUREMENT = "remeasurement"
    """A configuration of the search once more, to see whether the machine kept its speed."""
    PLAY_OFF = "play_off"
    VERIFICATION = "verification"
    CONFIRMATION = "confirmation"
    ABLATION = "ablation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Configuration:
    """One point of the space, rendered: everything a trial changes, by the way it is applied."""

    assignment: Assignment
    ds_config: Mapping[str, Any]
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Option of the user's command to its value, for example ``--per_device_train_batch_size: 8``."""
    environment: Mapping[str, str] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over all that is applied: equal digests are the same experiment."""
        parts = [self.ds_config, self.arguments, self.environment, self.probe]
        text = json.dumps([dict(part) for part in parts], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Interval:
    """A point estimate with its two-sided 95% confidence interval."""

    point: float
    low: float
    high: float

    def inverse(self) -> "Interval":
        """Return the interval of one over it, where its point is above zero."""
        return Interval(point=1 / self.point, low=1 / self.high, high=1 / self.low if self.low else math.inf)


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """What one run did, end to end (DESIGN section 4).

    Rates are what entered the engine's forward over wall-clock step boundaries after warm-up, of the slowest
    rank times the data-parallel replicas that fed data; steps that the optimizer skipped do not count.
    """

    samples_per_second: Interval
    tokens_per_second: float | None
    """None where nothing that enters forward is a token."""
    steps: int
    """Step boundaries inside the measured window."""
    warmup_steps: int
    seconds: float
    """Length of the measured window."""
    steps_per_second: Interval | None = None
    """Steps of the optimizer, those that it skipped left out."""
    samples_per_joule: Interval | None = None
    """Of all the job's GPUs, over the steps of the same window; None where their energy is not known."""
    objective: Objective = Objective.THROUGHPUT
    """What its study compares it by."""
    skipped_steps: int = 0
    peak_reserved_bytes: int | None = None
    peak_allocated_bytes: int | None = None
    """By live tensors, of the device that had most; None on CPU."""
    resting_allocated_bytes: int | None = None
    """By live tensors between two steps, at most; None on CPU."""
    kept_activation_bytes: int | None = None
    """That a forward pass left allocated for its backward pass, at most; None where it was not seen."""
    device_memory_bytes: int | None = None
    communicated_bytes_per_step: Mapping[str, float] = field(default_factory=dict)
    losses: tuple[tuple[float, float], ...] = ()
    """(samples seen by all replicas, loss), every step with a known loss, warm-up included."""
    step_seconds_median: float = 0.0
    fed_batch: float | None = None
    """Median rows a forward on one replica, as seen entering it."""
    forwards_a_step: float | None = None
    """Median forwards between two steps of the optimizer."""
    startup_seconds: float | None = None
    witnesses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    telemetry: Mapping[str, Any] = field(default_factory=dict)
    """What GPUs, allocator and links did within the measured window; see ``tuners.telemetry``."""

    @property
    def merit(self) -> Interval:
        """What its study compares it by; more is better.

        Raises:
            ValueError: it was not measured; whoever makes a measurement sees to it that it was.
        """
        found = self.objective.merit(self)
        if found is None:
            raise ValueError(f"a run without its {self.objective} cannot be compared")
        return found

    def with_merit(self, merit: Interval) -> "Measurement":
        """The same run with another merit."""
        fields: dict[str, Any] = {self.objective.terms.merit_field: merit}
        return replace(self, **fields)

    @property
    def value(self) -> Interval:
        """The same in the objective's own unit."""
        return self.objective.of_merit(self.merit)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialReport:
    """One finished run, as the study, the history and the display see it."""

    number: int
    phase: Phase
    configuration: Configuration
    outcome: Outcome
    measurement: Measurement | None
    launcher: str
    startup_seconds: float | None
    total_seconds: float
    notes: tuple[str, ...] = ()
    waited_seconds: float = 0.0
    """Of ``total_seconds``: before the run began, for the imports of a fork server."""
    paused_seconds: float = 0.0
    """Between the run before it and this one, while the study did not run; 0 where it went on at once."""
    alerts: "tuple[Alert, ...] | None" = None
    """That fired in it, told to nobody; None where no rules were evaluated."""


class StudyObserver(Protocol):
    """Whoever shows the progress of a study."""

    def study_started(self, name: str, output_directory: Path, budget_seconds: float | None) -> None:
        """The experiment's name, where its results go, and its wall-clock limit if it has one."""
        ...

    def note(self, text: str) -> None:
        """One line that the user should read now."""
        ...

    def trial_started(self, number: int, phase: Phase, changes: Mapping[str, Value]) -> None:
        """A run starts; ``changes`` are the knobs that differ from the user's own."""
        ...

    def trial_progress(self, number: int, steps: int, samples_per_second: float | None) -> None:
        """The running trial has made ``steps`` steps on its slowest rank."""
        ...

    def trial_finished(self, report: TrialReport, *, best: bool) -> None:
        """A run ended; ``best`` when it is the best so far."""
        ...

    def time_left(self, seconds: float | None) -> None:
        """What the study still expects to spend; None when unknown."""
        ...
