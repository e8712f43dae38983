"""What flyball asked of this process; read once, from the file beside the installed probe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SETTINGS_VARIABLE = "FLYBALL_PROBE_SETTINGS"


@dataclass(frozen=True)
class Settings:
    """The keys of ``settings.json``; one that is absent takes the default here."""

    run: str = ""
    purpose: str = "run"
    """``trial`` (outputs are redirected, foreign writes refused) or ``run`` (nothing is touched)."""
    directory: str = "."
    """Where ``rank-<n>.jsonl`` go."""
    command: Sequence[str] = ()
    """What the user started, secrets masked; empty where flyball did not start it."""
    working_directory: str | None = None
    """Where it was started."""
    substitute_config: Mapping[str, Any] | None = None
    """Replaces the config that the script gives to ``deepspeed.initialize``."""
    substitute_engine: int = 0
    """Which engine gets that config and the knobs, counted as they are initialized; others keep their own."""
    knobs: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_directory: str | None = None
    """Trial only: where ``save_checkpoint`` is sent."""
    allowed_writes: Sequence[str] = ()
    guard_writes: bool = False
    samples_from: str = "batch"
    """``batch``: samples are what enters forward; ``config``: readers take the micro batch instead."""
    memory: bool = True
    """Whether step records carry the allocator's state."""
    max_records_per_second: float = 50.0
    """Faster boundaries share a record (``count`` above 1)."""
    ping_every_steps: int = 0
    """Steps from one in-band ping-pong to the next; 0: none."""
    budget_ratio: float = 0.01
    """Own cost over step time at which the probe switches itself off."""
    recovers: bool = False
    """Whether this run is checkpointed by us, or started again after a failure."""
    checkpoint_every: int = 0
    """Steps from one checkpoint that is asked of the engine to the next; 0: none."""
    keep_checkpoints: int = 2
    recovery_directory: str | None = None
    """Where these checkpoints go."""
    resume_step: int | None = None
    """Of the checkpoint there that the engine is put into before its first step."""

    @property
    def trial(self) -> bool:
        """Whether this is a trial."""
        return self.purpose == "trial"


def read_settings(path: str) -> Settings:
    """Read ``settings.json``; unknown keys are ignored. Raises OSError or ValueError."""
    with open(path, encoding="utf-8") as file:
        data = json.load(file)
    known = Settings.__dataclass_fields__
    return Settings(**{key: value for key, value in data.items() if key in known and value is not None})


def default_settings() -> Settings:
    """Settings for an explicit ``attach``: FLYBALL_PROBE_SETTINGS, else a run folder under the state folder.

    The ranks that one launcher started on this host share the folder: it is named after their parent process.
    """
    path = os.environ.get(SETTINGS_VARIABLE)
    if path:
        return read_settings(path)
    from flyball.runner.probe.process import process_start_ticks

    parent = os.getppid()
    run = f"run-{parent}-{process_start_ticks(parent)}"
    return Settings(run=run, directory=os.path.join(_state_folder(), "runs", run))


def _state_folder() -> str:
    own = os.environ.get("FLYBALL_STATE_DIR")
    if own:
        return os.path.expanduser(own)
    base = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.join(base, "flyball")
