"""The contract between whoever wants a trial run and whoever runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from flyball.collectors.journal import RankJournal
from flyball.runner.outcome import Outcome

StopRule = Callable[[Mapping[int, RankJournal]], str | None]
"""Given the journals read so far by rank: why the measurement is good enough to stop, or None to go on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a trial runs."""

    hosts: tuple[str, ...] = ("localhost",)
    devices: tuple[int, ...] = ()
    """Accelerator indices; empty on CPU."""
    ranks: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How long a trial may take before it is ended, in seconds."""

    startup_seconds: float = 600.0
    """Spawn to the first step of the slowest rank."""
    hang_factor: float = 20.0
    """No step within this many times the median step is a hang; evaluation and saving do not count."""
    hang_floor_seconds: float = 30.0
    """Never call it a hang before this long."""
    pause_seconds: float = 1800.0
    """How long one evaluation or checkpoint may take."""
    total_seconds: float = 3600.0
    """The whole trial; evaluating and saving do not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRequest:
    """Everything that one launch needs; nothing in it is the user's environment, which is inherited."""

    directory: Path
    """``trials/<n>``: holds ds_config.json, cmd.txt, stdout.log, stderr.log, rank-*.jsonl."""
    command: Sequence[str]
    """The rendered command, with this trial's config, arguments and folders in place."""
    ds_config: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    """Only what this trial sets on top of the inherited environment (environment knobs, trackers off)."""
    probe: Mapping[str, Any] = field(default_factory=dict)
    """Probe knobs: ``compile`` (bool), ``powersgd`` (mapping), ``substitute_config`` (bool), ..."""
    run_id: str = ""
    placement: Placement = field(default_factory=Placement)
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialResult:
    """What came back from one launch."""

    outcome: Outcome
    journals: Mapping[int, RankJournal]
    launcher: str
    """``cold`` or ``warm``."""
    startup_seconds: float | None
    """Spawn to the end of the first step of the slowest rank; None where no step was made."""
    total_seconds: float
    waited_seconds: float = 0.0
    """Of ``total_seconds``: before the spawn, for the imports of a fork server."""
    notes: tuple[str, ...] = ()
    """For example why a warm launch fell back to a cold one."""


class Handle(Protocol):
    """One running trial."""

    def wait(self, stop: StopRule) -> TrialResult:
        """Supervise until the stop rule is content, a limit is passed or the processes end; leave nothing."""
        ...

    def kill(self, reason: str) -> None:
        """End the trial now, from a signal handler or another thread; ``wait`` returns ``interrupted``."""
        ...


class Launcher(Protocol):
    """Starts trials. Cold, warm and multi-host are launchers; a cluster engine becomes one more."""

    name: str

    def launch(self, request: TrialRequest) -> Handle:
        """Start the processes of one trial."""
        ...

    def close(self) -> None:
        """End every process that belongs to this launcher and remove what it left."""
        ...
