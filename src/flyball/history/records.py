"""What the history gives to read: plain frozen data. Times are seconds since the epoch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from flyball.history.owner import Owner

RUNNING, FINISHED, INTERRUPTED = "running", "finished", "interrupted"
"""Status of an experiment; a trial's is running or finished."""
WAITING = "waiting"
"""Status of a study between production runs: nobody works on it, and the next run takes it up."""


class MachineFingerprint(Protocol):
    """Hardware and software, as ``collectors.fingerprint`` reads them."""

    @property
    def digest(self) -> str:
        """Equal on machines that are alike."""
        ...

    def document(self) -> dict[str, Any]:
        """What the digest is made of, as JSON."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentRecord:
    """One study of one command."""

    id: int
    name: str
    status: str
    """``running``, ``waiting``, ``finished`` or ``interrupted``; a running one whose owner is gone can be
    resumed too."""
    created_time: float
    finished_time: float | None
    command: tuple[str, ...]
    command_digest: str
    base_config: Mapping[str, Any]
    space: Mapping[str, Any]
    options: Mapping[str, Any]
    seed: int | None
    budget_seconds: float | None
    output_directory: str
    fingerprint_digest: str
    fingerprint: Mapping[str, Any]
    owner: Owner | None
    """Who holds it; None when nobody does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigurationRecord:
    """One point of an experiment's space, rendered."""

    id: int
    digest: str
    assignment: Mapping[str, Any]
    ds_config: Mapping[str, Any]
    arguments: Mapping[str, str]
    environment: Mapping[str, str]
    """Only what the trial set on top of the user's."""
    probe: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasurementRecord:
    """What one trial did; None where it was not available."""

    samples_per_second: float | None
    samples_per_second_low: float | None
    samples_per_second_high: float | None
    """Bounds of the 95% confidence interval of this one run."""
    tokens_per_second: float | None
    steps: int | None
    seconds: float | None
    step_seconds_median: float | None
    peak_reserved_bytes: int | None
    document: Mapping[str, Any]
    """The whole measurement as it was given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRecord:
    """One run of the user's command."""

    id: int
    experiment_id: int
    number: int
    phase: str
    optuna_number: int | None
    label: str
    placement: Mapping[str, Any]
    configuration: ConfigurationRecord
    status: str
    """``running`` or ``finished``."""
    outcome: str | None
    """None while it runs."""
    reason: str | None
    rank: int | None
    launcher: str | None
    startup_seconds: float | None
    waited_seconds: float | None
    total_seconds: float | None
    started_time: float
    finished_time: float | None
    notes: tuple[str, ...]
    measurement: MeasurementRecord | None
    telemetry: Mapping[str, Any] | None
    owner: Owner
    alerts: tuple[Mapping[str, Any], ...] | None = None
    """That fired while it ran, as JSON; None where no rules were evaluated."""

    @property
    def samples_per_second(self) -> float | None:
        """The measured rate, where there is one."""
        return self.measurement.samples_per_second if self.measurement else None


@dataclass(frozen=True, kw_only=True, slots=True)
class RecommendationRecord:
    """What a study came to."""

    experiment_id: int
    created_time: float
    verdict: str
    document: Mapping[str, Any]
    """``recommendation.json``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExperimentSummary:
    """One experiment as a list of them shows it."""

    experiment: ExperimentRecord
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Finished trials by outcome."""
    running_trials: int = 0
    trial_seconds: float = 0.0
    """Time spent in trials."""
    duration_seconds: float = 0.0
    """From its creation to its end, or to the last thing that a trial did."""
    baseline_samples_per_second: float | None = None
    best_number: int | None = None
    """The fastest completed search or baseline trial; a single run, so no verdict."""
    best_samples_per_second: float | None = None
    verdict: str | None = None
    speedup: Mapping[str, float] | None = None
    """``point``, ``low``, ``high`` of the verified gain."""

    @property
    def trials(self) -> int:
        """All trials, the running included."""
        return sum(self.outcomes.values()) + self.running_trials


@dataclass(frozen=True, kw_only=True, slots=True)
class PastTrial:
    """A finished trial of another experiment with the same command on an alike machine."""

    experiment: str
    number: int
    phase: str
    assignment: Mapping[str, Any]
    outcome: str
    samples_per_second: float | None
    total_seconds: float | None
    measurement: Mapping[str, Any] | None = None
    """The whole measurement as it was given; None where there is none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """One run that ``flyball run`` started on one host."""

    id: int
    name: str
    host: str
    folder: str
    """Where its journals lie."""
    command: tuple[str, ...]
    started_time: float
    finished_time: float | None
    """None while it runs, and for ever where flyball was killed."""
    exit_status: int | None
    """Of the command; None where a signal ended it."""
    signal: int | None
    """That ended it."""
    summary: Mapping[str, Any] | None
    fingerprint: Mapping[str, Any] | None
    """Of the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class P2pRecord:
    """One measurement of the links between ranks."""

    id: int
    created_time: float
    host: str
    command: tuple[str, ...]
    """The launcher; empty where flyball started the ranks on its own host."""
    backend: str
    document: Mapping[str, Any]
