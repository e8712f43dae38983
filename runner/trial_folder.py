"""Lays out a trial's folder and the environment that carries the probe into its workers."""

import json
import os
from collections.abc import Mapping
from typing import Any

from flyball.runner.base import TrialRequest
from flyball.runner.command import shell_line
from flyball.runner.probe_install import install

CONFIG_NAME = "ds_config.json"
OUTPUT_NAME = "output"
TRIAL_BUDGET_RATIO = 0.2
"""Share of a step's time that the probe may cost in a trial before it switches itself off."""
_PROBE_OPTIONS = (
    "guard_writes",
    "memory",
    "max_records_per_second",
    "budget_ratio",
    "samples_from",
    "substitute_engine",
)
"""What a request may say of the probe itself, beside the knobs."""


def prepare(request: TrialRequest) -> Mapping[str, str]:
    """Write the config, the command and the probe; return the trial's own variables, PYTHONPATH among them.

    Nothing of the inherited environment is written: only what this trial sets.
    """
    directory = request.directory
    (directory / OUTPUT_NAME).mkdir(parents=True, exist_ok=True)
    for stale in directory.glob("rank-*.jsonl"):
        stale.unlink()
    (directory / CONFIG_NAME).write_text(json.dumps(request.ds_config, indent=2) + "\n")
    (directory / "cmd.txt").write_text(shell_line(request.command, request.environment))
    return {**request.environment, **install(directory / "probe", probe_settings(request))}


def probe_settings(request: TrialRequest) -> dict[str, Any]:
    """The probe's settings for one trial."""
    knobs = dict(request.probe)
    substitute = knobs.pop("substitute_config", False)
    allowed = knobs.pop("allowed_writes", ())
    own = {name: knobs.pop(name) for name in _PROBE_OPTIONS if name in knobs}
    return {
        "run": request.run_id or request.directory.name,
        "purpose": "trial",
        "directory": str(request.directory),
        "substitute_config": dict(request.ds_config) if substitute else None,
        "knobs": knobs,
        "checkpoint_directory": str(request.directory / OUTPUT_NAME / "checkpoints"),
        "allowed_writes": [str(request.directory), *allowed],
        "guard_writes": True,
        "memory": True,
        # A trial is there to be measured: steps of a few milliseconds may spend more of themselves on it.
        "budget_ratio": TRIAL_BUDGET_RATIO,
        **own,
    }


def joined_path(front: str, inherited: str | None) -> str:
    """PYTHONPATH with ``front`` before what the user has."""
    return front + (os.pathsep + inherited if inherited else "")


def trial_environment(own: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """The inherited environment with the trial's own variables on top and the probe first on PYTHONPATH."""
    environment = {**inherited, **own}
    if "PYTHONPATH" in own:
        environment["PYTHONPATH"] = joined_path(own["PYTHONPATH"], inherited.get("PYTHONPATH"))
    return environment
