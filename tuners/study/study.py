"""One study, from the user's command to a verdict."""

import contextlib
import statistics
from collections.abc import Callable, Iterator

from flyball.clock import Clock, SystemClock
from flyball.collectors.fingerprint import Fingerprint, fingerprint
from flyball.collectors.gpu_recorder import GpuRecorder, nvml_collector
from flyball.database import open_database, parse_address
from flyball.history.store import History
from flyball.policies.rule_file import read_rules
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.launch_warm import WarmLauncher
from flyball.tuners.base import StudyObserver
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.job import Job, read_job
from flyball.tuners.knobs.registry import BY_NAME
from flyball.tuners.objective import refuse_unmeasurable
from flyball.tuners.options import StudyOptions, StudyResult, nothing
from flyball.tuners.space.space import Space
from flyball.tuners.study.dry_run import describe
from flyball.tuners.study.ledger_opening import job_digest, open_history, require_free, results_folder
from flyball.tuners.study.phases import Study
from flyball.tuners.study.resume import experiments_to_resume
from flyball.tuners.study.setup import Launchers, space_of, with_limits
from flyball.tuners.trials.trial_alerts import TrialRules
from flyball.tuners.verification.plan import Rules

WatchGpus = Callable[[Job, TrialRules], contextlib.AbstractContextManager[GpuRecorder | None]]
"""Samples the GPUs beside the runs of a study."""


def run_study(
    options: StudyOptions,
    *,
    observer: StudyObserver,
    interruption: Interruption,
    clock: Clock | None = None,
    make_launchers: Callable[[StudyOptions, Job], Launchers] | None = None,
    watch_gpus: WatchGpus | None = None,
    begin: Callable[[], None] = nothing,
) -> StudyResult:
    """Run a study to its verdict, or go on with one that was interrupted.

    ``begin`` is called once all that the user gave was found to be in order, before anything is recorded or
    started; what it raises ends the study. A dry run does not begin.

    Raises:
        BadInput: command, config, space, policies, an option or the database cannot be used; nothing was
            launched.
        BaselineFailed: the user's own command does not complete a measurement.
        StorageFailed: disk or database gave out; the study can be resumed.
        Interrupted: stopped by the user before there was anything to report.
    """
    machine = fingerprint()
    if options.resume is not None:
        options = experiments_to_resume(options)
    job = read_job(options, machine)
    refuse_unmeasurable(
        options.objective, device=job.context.device, allow_global_batch=options.allow_global_batch
    )
    space = space_of(options, job) if job.document else None
    rules = TrialRules(read_rules(options.policies, known_knobs=BY_NAME))
    if options.dry_run:
        return dry_run(options, job, space, machine)
    with open_history(options, job, machine, begin=begin) as ledger:
        launchers = (make_launchers or real_launchers)(options, job)
        try:
            with (watch_gpus or gpus_watched)(job, rules) as gpus:
                study = Study(
                    options=ledger.options,
                    job=job,
                    ledger=ledger,
                    launchers=launchers,
                    observer=observer,
                    interruption=interruption,
                    clock=clock or SystemClock(),
                    gpus=gpus,
                    rules=rules,
                )
                return study.run()
        finally:
            launchers.usual.close()


@contextlib.contextmanager
def gpus_watched(job: Job, rules: TrialRules) -> Iterator[GpuRecorder | None]:
    """Yield what samples the GPUs beside the runs; None where the job runs on the CPU."""
    if job.context.device != "cuda":
        yield None
        return
    gpus = GpuRecorder(lambda: nvml_collector(SystemClock()), played=rules.gpu_metrics)
    gpus.start()
    try:
        yield gpus
    finally:
        gpus.stop()


def real_launchers(options: StudyOptions, job: Job) -> Launchers:
    """Return warm launches for most runs, unless the user wants every run cold."""
    cold = ColdLauncher(cwd=options.cwd)
    return Launchers(usual=WarmLauncher(job.command, cold) if options.warm else cold, cold=cold)


@contextlib.contextmanager
def history_so_far(options: StudyOptions) -> Iterator[History | None]:
    """Yield the history for reading, or None where there is none yet; nothing is made.

    Raises:
        DatabaseError: the history is there and cannot be read.
    """
    path = parse_address(options.database_url).path
    if path is not None and not path.exists():
        yield None
        return
    with open_database(options.database_url, for_reading=True) as database:
        yield History(database)


def run_seconds(
    history: History | None, options: StudyOptions, job: Job, machine: Fingerprint
) -> float | None:
    """Return how long a run took in earlier studies of the job, or None where there were none."""
    if history is None:
        return None
    past = history.matching(machine.digest, job_digest(options, job), objective=options.objective.value)
    known = [trial.total_seconds for trial in past if trial.total_seconds]
    return statistics.median(known) if known else None


def dry_run(options: StudyOptions, job: Job, space: Space | None, machine: Fingerprint) -> StudyResult:
    """Describe what a study would do.

    Raises:
        OptionError: another study has its name or its folder, so that it would not begin.
        DatabaseError: the history is there and cannot be read.
    """
    output = options.output or results_folder(options)
    with history_so_far(options) as history:
        require_free(options, history)
        seconds = run_seconds(history, options, job, machine)
    if space is None:
        text = (
            "dry run: the script holds its config itself; pass --config FILE to see the space before a run\n"
        )
    else:
        text = describe(job, space, with_limits(options), Rules(), seconds)
    return StudyResult(verdict=None, output_directory=output, summary=text)
