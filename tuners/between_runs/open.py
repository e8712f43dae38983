"""Opens the study that a production run belongs to: the newest generation of its name, or a new one."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from flyball.clock import Clock
from flyball.collectors.fingerprint import Fingerprint
from flyball.database import open_database
from flyball.errors import CommandError, DatabaseError, OptionError
from flyball.history.finding import BETWEEN_RUNS, GENERATION, OBJECTIVE
from flyball.history.owner import Owner
from flyball.history.records import FINISHED, WAITING, ExperimentRecord
from flyball.history.store import History
from flyball.tuners.between_runs.key import JobKey
from flyball.tuners.between_runs.turn import Asked
from flyball.tuners.job.job import Job, read_job
from flyball.tuners.objective import Objective, refuse_unmeasurable
from flyball.tuners.options import StudyOptions
from flyball.tuners.results.output import json_bytes, write_whole
from flyball.tuners.study.ledger import Ledger, ledger_of
from flyball.tuners.study.ledger_opening import RESULTS, keep_originals, new_experiment, require_new
from flyball.tuners.study.setup import space_of

OBSERVED = "observed.json"
"""The header of the user's own first measured run: what the job turned out to be."""
CLAIM_SECONDS = 30.0
_CLAIM_POLL_SECONDS = 0.2
_NOT_KEPT = ("modules", "module_paths")


def understood(options: StudyOptions, machine: Fingerprint) -> Job:
    """Return the job of a command that is run as it stands.

    Raises:
        BadInput: the command or its config cannot be used.
    """
    job = read_job(options, machine)
    if any("{trial_dir}" in token for token in job.command.tokens):
        raise CommandError(
            "{trial_dir} names no folder in a production run",
            where="command",
            mend="write the folder that the run is to use",
        )
    refuse_unmeasurable(options.objective, device=job.context.device, allow_global_batch=False)
    return job


def with_objective_of(experiment: ExperimentRecord | None, asked: Asked) -> Asked:
    """Return what is asked, for what the study makes better where the user did not say."""
    if asked.objective_given or experiment is None:
        return asked
    objective = Objective(experiment.options.get(OBJECTIVE, asked.options.objective))
    return replace(asked, options=replace(asked.options, objective=objective))


def newest(history: History, asked: Asked) -> ExperimentRecord | None:
    """Return the newest generation of the study that a run asks, where it has begun."""
    return next(iter(history.generations(asked.options.name or "")), None)


def begin_or_continue(
    history: History, asked: Asked, job: Job, machine: Fingerprint
) -> tuple[Ledger, list[str]]:
    """Return the ledger of the study that a run belongs to, and what is to be said of it.

    Raises:
        BadInput: the study cannot begin.
        DatabaseError: the database gave out.
    """
    name = asked.options.name or ""
    key = JobKey.of(asked.options, job, machine)
    past = history.generations(name)
    if past and not past[0].options.get(BETWEEN_RUNS):
        raise OptionError(
            f"{name} is a study of autotune's", where="--study", mend="choose another name with --study"
        )
    alike = next((each for each in past if not key.changed(each.options[BETWEEN_RUNS])), None)
    if alike is not None:
        return taken_up(history, alike, asked.options, asked.owner, machine), _kept(asked, alike)
    changed = key.changed(past[0].options[BETWEEN_RUNS]) if past else ()
    if job.document is not None:
        space_of(asked.options, job)  # a malformed one is refused before anything runs
    generation = len(past) + 1
    try:
        ledger = _begun(history, asked, job, machine, key, generation)
    except OptionError:
        found = history.generations(name)
        if len(found) <= len(past):
            raise
        # Another run began it in this very moment.
        return taken_up(history, found[0], asked.options, asked.owner, machine), []
    if not past:
        return ledger, [f"study {name} begins: this run is your own configuration's"]
    return ledger, [f"study {name}: {_begins_anew(changed, ledger, past[0])}"]


def _begun(
    history: History, asked: Asked, job: Job, machine: Fingerprint, key: JobKey, generation: int
) -> Ledger:
    options = asked.options
    name = (options.name or "") + (f"{GENERATION}{generation}" if generation > 1 else "")
    output = (options.output or options.cwd / RESULTS / (options.name or "")).absolute()
    output = output.with_name(output.name + (f"{GENERATION}{generation}" if generation > 1 else ""))
    require_new(output, mend="choose another with --output, or remove it")
    begun = new_experiment(
        history, options, job, machine, name=name, output=output, more={BETWEEN_RUNS: dict(key.parts)}
    )
    keep_originals(output, options, job)
    return taken_up(history, begun, options, asked.owner, machine)


def taken_up(
    history: History,
    experiment: ExperimentRecord,
    options: StudyOptions,
    owner: Owner,
    machine: Fingerprint,
) -> Ledger:
    """Return the ledger of a study; what it was begun with stays, whatever a later run says."""
    stored = experiment.options
    begun_with = replace(
        options,
        trials=stored.get("trials"),
        memory_limit_ratio=stored.get("memory_limit_ratio", options.memory_limit_ratio),
        least_throughput_ratio=stored.get("least_throughput_ratio", options.least_throughput_ratio),
    )
    return ledger_of(history, experiment, begun_with, owner, machine)


@contextlib.contextmanager
def claimed(history: History, experiment_id: int, *, clock: Clock) -> Iterator[None]:
    """Work on a study alone; runs of several jobs take turns, each for a moment.

    Raises:
        DatabaseError: another process kept it for ``CLAIM_SECONDS``.
    """
    owner, began = Owner.current(), clock.monotonic()
    while True:
        try:
            history.claim(experiment_id, owner)
            break
        except DatabaseError:
            if clock.monotonic() - began > CLAIM_SECONDS:
                raise
            clock.sleep(_CLAIM_POLL_SECONDS)
    try:
        yield
    finally:
        decided = history.recommendation(experiment_id) is not None
        history.set_experiment_status(experiment_id, FINISHED if decided else WAITING)


@contextlib.contextmanager
def opened(url: str, *, clock: Clock) -> Iterator[History]:
    """Yield the history at a database's URL."""
    with open_database(url) as database:
        yield History(database, clock=clock)


def keep_observed(output: Path, header: Mapping[str, Any]) -> None:
    """Keep the header of the user's own first measured run."""
    write_whole(output / OBSERVED, json_bytes({k: v for k, v in header.items() if k not in _NOT_KEPT}))


def read_observed(output: Path) -> dict[str, Any] | None:
    """Return that header, or None where it is not there or cannot be read."""
    try:
        found = json.loads((output / OBSERVED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _kept(asked: Asked, experiment: ExperimentRecord) -> list[str]:
    """Say which objective a study keeps, where it is not the one that a command without the option has."""
    objective = asked.options.objective
    if asked.objective_given or asked.own_only or objective is Objective.THROUGHPUT:
        return []
    return [f"study {experiment.name}: its objective is {objective}, as it was begun"]


def _begins_anew(changed: tuple[str, ...], begun: Ledger, before: ExperimentRecord) -> str:
    """Say what began and why, and how the run before it is gone on with."""
    back = "with what it had before"
    if OBJECTIVE in changed:
        now, then = begun.options.objective, before.options.get(OBJECTIVE)
        back = f"with --objective {then}" + (" and all else as it was" if len(changed) > 1 else "")
        changed = tuple(f"objective ({then}, now {now})" if each == OBJECTIVE else each for each in changed)
    return (
        f"{_and(changed)} changed, so it begins anew as {begun.name}; {back}, runs go on with {before.name}"
    )


def _and(names: tuple[str, ...]) -> str:
    return "its " + (names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}")
