"""Finds the recommendation that a command uses, so that its run can be held against what was promised."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flyball.errors import BadInput
from flyball.history.records import ExperimentRecord
from flyball.history.store import History
from flyball.runner.command import Command, parse_command
from flyball.tuners.config.reading import load_document, read_config
from flyball.tuners.results.output import COMMAND
from flyball.tuners.results.promise import promise_json

SHELLS = ("sh", "bash", "dash")


def find_promise(
    history: History,
    command: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    fingerprint_digest: str,
) -> dict[str, Any] | None:
    """Return ``promise.json`` for a run of a recommended configuration; None for any other run.

    Args:
        history: of the studies.
        command: as typed: that of ``cmd_optimal.txt``, or one with the same script, config and options.
        cwd: where it runs.
        environment: that it runs in.
        fingerprint_digest: of this machine; a promise was made for an alike one.
    """
    for experiment in history.recommending(fingerprint_digest):
        found = history.recommendation(experiment.id)
        if found is None:
            continue
        samples_from = experiment.options.get("samples_from") or "batch"
        promise = promise_json(experiment.name, found.document, samples_from=samples_from)
        if promise and _is_used(experiment, found.document["recommended"], command, cwd, environment):
            return promise
    return None


def _is_used(
    experiment: ExperimentRecord,
    recommended: Mapping[str, Any],
    command: Sequence[str],
    cwd: Path,
    environment: Mapping[str, str],
) -> bool:
    output = Path(experiment.output_directory)
    if len(command) > 1 and Path(command[0]).name in SHELLS:
        return (cwd / command[1]).resolve() == (output / COMMAND).resolve()
    # What the probe carried is not in a command; there, only the file itself is known to use it.
    if recommended["probe"]:
        return False
    given = _understood(command, cwd)
    folder = experiment.options.get("cwd")
    tuned = _understood(experiment.command, Path(folder)) if folder else None
    if given is None or tuned is None or (given.script, given.module) != (tuned.script, tuned.module):
        return False
    if given.ranks != tuned.ranks or _config(given) != recommended["ds_config"]:
        return False
    options = recommended["arguments"]
    if any(given.option(option) != value for option, value in options.items()):
        return False
    return all(environment.get(name) == value for name, value in recommended["environment"].items())


def _understood(command: Sequence[str], cwd: Path) -> Command | None:
    try:
        return parse_command(command, cwd=cwd)
    except (BadInput, OSError):
        return None


def _config(command: Command) -> Mapping[str, Any] | None:
    path = command.config_path
    if path is None or not os.access(path, os.R_OK):
        return None
    try:
        return load_document(path, read_config(path)).values
    except BadInput:
        return None
