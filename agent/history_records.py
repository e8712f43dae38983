"""What ``flyball history`` shows of the past: plain records, which are also its JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class PastExperiment:
    """One experiment."""

    id: int
    name: str
    status: str
    """``running``, ``finished`` or ``interrupted``."""
    created: float
    """Seconds since the epoch."""
    seconds: float
    """From its begin to its end, or to the last thing that a trial did."""
    command: tuple[str, ...]
    """With the values of secret options masked."""
    base_config: Mapping[str, Any]
    space: Mapping[str, Any]
    options: Mapping[str, Any]
    seed: int | None
    budget_seconds: float | None
    output_directory: str
    fingerprint: Mapping[str, Any]
    outcomes: Mapping[str, int]
    """Trials by outcome, the running included."""
    best_samples_per_second: float | None
    verdict: str | None
    recommendation: Mapping[str, Any] | None
    """The content of ``recommendation.json``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PastTrial:
    """One trial."""

    number: int
    phase: str
    outcome: str
    """How it ended, or ``running``."""
    reason: str
    launcher: str | None
    startup_seconds: float | None
    total_seconds: float | None
    notes: tuple[str, ...]
    assignment: Mapping[str, Any]
    ds_config: Mapping[str, Any]
    arguments: Mapping[str, str]
    environment: Mapping[str, str]
    probe: Mapping[str, Any]
    measurement: Mapping[str, Any] | None
    alerts: tuple[Mapping[str, Any], ...] | None = None
    """That fired in it; None where no rules were evaluated."""

    @property
    def rules(self) -> tuple[str, ...]:
        """Rules that fired in it, each once."""
        return tuple(dict.fromkeys(str(alert["rule"]) for alert in self.alerts or ()))

    @property
    def rate(self) -> Mapping[str, float]:
        """``point``, ``low`` and ``high`` of its samples/s; empty where there is none."""
        return (self.measurement or {}).get("samples_per_second") or {}


@dataclass(frozen=True, kw_only=True, slots=True)
class PastRun:
    """One run that ``flyball run`` started on one host."""

    name: str
    host: str
    folder: str
    command: tuple[str, ...]
    """With the values of secret options masked."""
    started: float
    """Seconds since the epoch."""
    finished: float | None
    """None while it runs, and where flyball was killed before its end."""
    running: bool
    """Whether one of its ranks is seen to live, on this machine."""
    exit_status: int | None
    signal: int | None
    summary: Mapping[str, Any] | None
    fingerprint: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class PastLinks:
    """One measurement of ``flyball p2p``."""

    id: int
    measured: float
    """Seconds since the epoch."""
    host: str
    """That measured."""
    command: tuple[str, ...]
    """The launcher, with the values of secret options masked; empty where flyball started the ranks."""
    backend: str
    document: Mapping[str, Any]
    """What ``flyball p2p --json`` printed."""


class Past(Protocol):
    """Whatever holds past experiments."""

    def experiments(self) -> Sequence[PastExperiment]:
        """Return every experiment, the newest first."""
        ...

    def trials(self, experiment: PastExperiment) -> Sequence[PastTrial]:
        """Return its trials, by number."""
        ...

    def runs(self) -> Sequence[PastRun]:
        """Return every watched run, the newest first."""
        ...

    def links(self) -> Sequence[PastLinks]:
        """Return every measurement of links, the newest first."""
        ...
