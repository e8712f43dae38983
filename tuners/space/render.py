"""Turns a point of the space into what a trial applies, and says how two of them differ."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.tuners.base import Assignment, Configuration
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation
from flyball.tuners.knobs.registry import KNOBS
from flyball.tuners.legality.context import Context

UNTOUCHED = "as given"
"""The value of a declared option or variable that is left as the user's own command has it."""
TRACKER_SECTIONS = ("tensorboard", "wandb", "csv_monitor", "comet")
TRACKERS_OFF_ENVIRONMENT: Mapping[str, str] = {
    "WANDB_MODE": "disabled",
    "COMET_MODE": "disabled",
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "DISABLE_MLFLOW_INTEGRATION": "TRUE",
    "NEPTUNE_MODE": "debug",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that differs between two configurations; None stands for absent."""

    kind: Applied
    path: str
    old: Any
    new: Any


def render(
    base_config: Mapping[str, Any],
    assignment: Assignment,
    context: Context,
    knobs: Iterable[Knob] = KNOBS,
) -> Configuration:
    """Return what a trial at ``assignment`` applies; ``base_config`` is the user's own and is not changed.

    Only what differs from the user's own is written, so that the baseline renders to the config as it was.
    """
    base = Situation(config=base_config, context=context)
    draft = Draft.of(base, assignment)
    for knob in knobs:
        value = assignment.get(knob.name, UNTOUCHED)
        if value != UNTOUCHED and knob.read(draft.situation) != value:
            knob.apply(draft, value)
    return Configuration(
        assignment=dict(assignment),
        ds_config=draft.config,
        arguments=draft.arguments,
        environment=draft.environment,
        probe=draft.probe,
    )


def trackers_off(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a config with TensorBoard, W&B, CSV and Comet logging switched off."""
    quiet = copy.deepcopy(dict(config))
    for section in TRACKER_SECTIONS:
        if isinstance(quiet.get(section), dict):
            quiet[section]["enabled"] = False
    return quiet


def trackers_off_environment(trial_directory: Path) -> dict[str, str]:
    """Return the variables that keep a trial out of trackers, or send them into the trial's folder."""
    return {
        **TRACKERS_OFF_ENVIRONMENT,
        "MLFLOW_TRACKING_URI": (trial_directory / "output" / "mlruns").absolute().as_uri(),
        "TENSORBOARD_LOGGING_DIR": str((trial_directory / "output" / "tensorboard").absolute()),
    }


def difference(base: Configuration, other: Configuration) -> list[Change]:
    """Return what ``other`` applies differently from ``base``, leaf by leaf, in a stable order."""
    pairs = (
        (Applied.CONFIG, leaves(base.ds_config), leaves(other.ds_config)),
        (Applied.ARGUMENT, base.arguments, other.arguments),
        (Applied.ENVIRONMENT, base.environment, other.environment),
        (Applied.PROBE, base.probe, other.probe),
    )
    return [change for kind, old, new in pairs for change in _changes(kind, old, new)]


def _changes(kind: Applied, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    return [
        Change(kind=kind, path=path, old=old.get(path), new=new.get(path))
        for path in sorted({*old, *new})
        if (path in old, old.get(path)) != (path in new, new.get(path))
    ]


def leaves(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested config as dotted key paths to values; an empty section is a leaf."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        found.update(leaves(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value})
    return found
