"""How a study's record begins or is taken up again: its name, its folder, its experiment in the history."""

import contextlib
import hashlib
import itertools
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from flyball.collectors.fingerprint import Fingerprint
from flyball.database import open_database
from flyball.errors import OptionError
from flyball.history.digest import command_digest
from flyball.history.owner import Owner
from flyball.history.records import INTERRUPTED, ExperimentRecord
from flyball.history.store import History
from flyball.tuners.job.job import Job, script_text
from flyball.tuners.options import StudyOptions, nothing, options_json
from flyball.tuners.results.output import write_whole
from flyball.tuners.study.ledger import Ledger, ledger_of
from flyball.tuners.study.resume import ORIGINAL_CONFIG, ORIGINAL_SPACE, find_resumable

RESULTS = "flyball_results"
OTHER_OUTPUT = "choose another with --output, or --resume it"


@contextlib.contextmanager
def open_history(
    options: StudyOptions, job: Job, machine: Fingerprint, *, begin: Callable[[], None] = nothing
) -> Iterator[Ledger]:
    """Open the database and begin an experiment in it, or take the one up that is to be resumed.

    ``begin`` is called before a new one is recorded; what it raises passes.

    Raises:
        DatabaseError: the database cannot be used, or a living process works on the experiment.
        OptionError: the name or the output folder is taken.
        StorageFailed: the output folder cannot be written.
    """
    with open_database(options.database_url) as database:
        history = History(database)
        owner = Owner.current()
        if options.resume is not None:
            ledger = _resumed(history, owner, options, machine)
        else:
            ledger = _begun(history, owner, options, job, machine, begin)
        try:
            yield ledger
        except BaseException:
            with contextlib.suppress(Exception):
                history.set_experiment_status(ledger.experiment_id, INTERRUPTED)
            raise


def _begun(
    history: History,
    owner: Owner,
    options: StudyOptions,
    job: Job,
    machine: Fingerprint,
    begin: Callable[[], None],
) -> Ledger:
    results = results_folder(options)
    require_free(options, history)
    name = options.name or free_name(default_name(job), history, results)
    output = options.output or results / name
    require_new(output, mend=OTHER_OUTPUT)
    try:
        begin()
    except BaseException:
        with contextlib.suppress(OSError):  # nothing is in it yet, but it may be the user's own
            if options.output is None:
                output.rmdir()
        raise
    experiment = new_experiment(history, options, job, machine, name=name, output=output)
    history.claim(experiment.id, owner)
    keep_originals(output, options, job)
    return ledger_of(history, experiment, options, owner, machine)


def results_folder(options: StudyOptions) -> Path:
    """Return where a study's folder is made, unless it is named."""
    return (options.typed_in or options.cwd) / RESULTS


def require_free(options: StudyOptions, history: History | None) -> None:
    """Refuse a name or an output folder that another study has; nothing is made or recorded.

    Args:
        options: of a study that would begin.
        history: that it would be recorded in; None where there is none yet.

    Raises:
        OptionError: one of them is taken.
    """
    if options.name is not None and history is not None:
        history.require_free_name(options.name)
    output = options.output or (results_folder(options) / options.name if options.name else None)
    if output is not None:
        _require_empty(output, mend=OTHER_OUTPUT)


def new_experiment(
    history: History,
    options: StudyOptions,
    job: Job,
    machine: Fingerprint,
    *,
    name: str,
    output: Path,
    more: Mapping[str, Any] | None = None,
) -> ExperimentRecord:
    """Record that a study begins; nobody has claimed it yet.

    Args:
        history: where it is recorded.
        options: of the study; a seed is drawn where they name none.
        job: that it tunes.
        machine: that it runs on.
        name: of the study; OptionError where it is taken.
        output: its folder.
        more: recorded beside the options.
    """
    experiment_id = history.create_experiment(
        name=name,
        command=options.command,
        base_config=job.config,
        space={"file": str(options.space) if options.space else "default"},
        seed=options.seed if options.seed is not None else secrets.randbelow(2**31),
        budget_seconds=options.budget_seconds,
        options={**options_json(options), **(more or {})},
        fingerprint=machine,
        output_directory=output,
        command_digest=job_digest(options, job),
    )
    return history.experiment(experiment_id)


def require_new(output: Path, *, mend: str) -> None:
    """Make the output folder of a study that begins.

    Raises:
        OptionError: it holds something, or cannot be written; nothing is recorded yet.
    """
    _require_empty(output, mend=mend)
    _require_writable(output)


def _require_empty(output: Path, *, mend: str) -> None:
    if output.exists() and any(output.iterdir()):
        raise OptionError("holds results already", where=str(output), mend=mend)


def _require_writable(output: Path) -> None:
    """Make the output folder and write to it once.

    Raises:
        OptionError: it cannot be made or written; nothing is recorded yet.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=output) as file:
            file.write(b"0")
    except OSError as error:
        raise OptionError(
            f"cannot be written: {error.strerror}",
            where=str(output),
            mend="name another folder with --output",
        ) from error


def keep_originals(output: Path, options: StudyOptions, job: Job) -> None:
    """Copy what a resume must find unchanged: the user's config and space, as they were."""
    if job.user_config is not None:
        write_whole(output / ORIGINAL_CONFIG, job.user_config)
    if options.space is not None and options.space.is_file():
        write_whole(output / ORIGINAL_SPACE, options.space.read_bytes())


def _resumed(history: History, owner: Owner, options: StudyOptions, machine: Fingerprint) -> Ledger:
    experiment = find_resumable(history, options)
    history.claim(experiment.id, owner)
    return ledger_of(history, experiment, options, owner, machine)


def job_digest(options: StudyOptions, job: Job) -> str:
    """Return what makes two studies the same job.

    The command, where and by which interpreter it runs, its ranks, the script's text and the user's config.
    """
    script = hashlib.sha256(script_text(job.command).encode()).hexdigest()
    place = (str(options.cwd), job.command.interpreter, job.command.ranks)
    return command_digest(options.command, *place, script, job.config)


def free_name(name: str, history: History, results: Path) -> str:
    """Return ``name``, with a number behind it where another study of the same second has it."""
    taken = {summary.experiment.name for summary in history.experiments()}
    candidates = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(each for each in candidates if each not in taken and not (results / each).exists())


def default_name(job: Job) -> str:
    """Return the script's name and the time: unique enough, and it sorts."""
    script = job.command.script.stem if job.command.script else (job.command.module or "job")
    safe = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in script)[:40]
    return f"{safe.strip('.-_') or 'job'}-{time.strftime('%Y%m%d-%H%M%S')}"
