"""Runs one configuration: renders the command, launches it, measures what it wrote, records how it ended."""

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal
from flyball.errors import CommandError, StorageFailed
from flyball.history.alert_records import Alert
from flyball.runner.base import Launcher, Limits, Placement, TrialRequest, TrialResult
from flyball.runner.command import Command
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Configuration, Measurement, Phase, StudyObserver, TrialReport, Value
from flyball.tuners.interruption import Interruption
from flyball.tuners.measurement.feeding import Feeding
from flyball.tuners.measurement.measurement import Invalid, measure
from flyball.tuners.measurement.series import busiest_header
from flyball.tuners.measurement.stopping import Precision, PrecisionRule
from flyball.tuners.measurement.witness import idle_note
from flyball.tuners.objective import Objective
from flyball.tuners.results.output import storage, write_trial_metrics
from flyball.tuners.space.render import trackers_off, trackers_off_environment
from flyball.tuners.trials.trial_alerts import TrialRules

TRIALS = "trials"
COMPILING_SECONDS = 300.0
CHECKPOINT_FOLDERS = ("checkpoint-*", "global_step*")
"""As transformers' Trainer and DeepSpeed name them."""
LARGEST_KEPT_BYTES = 16 << 20
"""Of a trial's own output: what is larger is a model, not a log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One run that is asked for."""

    number: int
    phase: Phase
    configuration: Configuration
    changes: Mapping[str, Value] = field(default_factory=dict)
    """The knobs that differ from the user's own, for the display."""
    precision: Precision = field(default_factory=Precision)
    incumbent_low: float | None = None
    """Lower bound of the best so far, by what the study compares; None where there is no race to lose."""
    cold: bool = False
    """Start it by the user's own command even where a warm launch is possible."""


@dataclass(kw_only=True, slots=True)
class TrialRunner:
    """Makes runs of one command, one at a time.

    Args:
        command: the user's command.
        launcher: warm or cold, for every run that does not ask for a cold one.
        cold: the user's command as it is.
        directory: the experiment's output folder; run n lies in ``trials/<n>``.
        device_memory_bytes: of one device, of the host on CPU; what peaks are held against.
    """

    command: Command
    launcher: Launcher
    cold: Launcher
    directory: Path
    observer: StudyObserver
    interruption: Interruption
    device_memory_bytes: int | None = None
    allowed_writes: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)
    renew: Callable[[], None] = lambda: None
    """Called while a run is watched: the study still lives."""
    substitute: bool = False
    """Whether the probe gives the script each run's config; off while the script's own is not known yet."""
    samples_from: str = "batch"
    """``config`` where rows that enter forward are no samples; see ``StudyOptions``."""
    objective: Objective = Objective.THROUGHPUT
    """What the study compares runs by: a run that does not tell it is not measured."""
    header: Mapping[str, Any] | None = None
    """Rank 0's header of the newest run that had one: what the job turned out to be. Of several engines it is
    that of the one that makes most steps."""
    engine: int | None = None
    """That engine's number in the first run that was measured: configs and probe knobs are for this one."""
    gpus: GpuRecorder | None = None
    """Samples the GPUs beside every run; None where there are none."""
    rules: TrialRules | None = None
    """What the alerts of a run are worked out by."""
    _own_feeding: Feeding | None = None

    def run(self, wanted: Run) -> TrialReport:
        """Make one run and return its report; ``metrics.json`` stands in its folder.

        Raises:
            CommandError: the script was seen writing to the user's own files.
            StorageFailed: the disk is full, for us or for the script.
        """
        self.observer.trial_started(wanted.number, wanted.phase, wanted.changes)
        if self.gpus is not None:
            self.gpus.forget()
        result = self._launch(wanted)
        self._refuse_foreign_writes(result)
        _refuse_full_disk(result.outcome)
        self.header = busiest_header(result.journals) or self.header
        report = self._report(wanted, result)
        self._learn_engine(report)
        write_trial_metrics(self._folder(wanted.number), report)
        return report

    def _learn_engine(self, report: TrialReport) -> None:
        # A config that was already put into the first engine is that engine's for the whole study.
        if self.engine is None and self.header is not None and report.measurement is not None:
            self.engine = 0 if self.substitute else int(self.header.get("engine") or 0)

    def _folder(self, number: int) -> Path:
        return self.directory / TRIALS / str(number)

    def _launch(self, wanted: Run) -> TrialResult:
        launcher = self.cold if wanted.cold else self.launcher
        rule = PrecisionRule(
            precision=wanted.precision,
            incumbent_low=wanted.incumbent_low,
            objective=self.objective,
            gpus=self.gpus,
        )
        folder = self._folder(wanted.number)
        with storage(folder):
            folder.mkdir(parents=True, exist_ok=True)
            handle = launcher.launch(self.request(wanted))
            forget = self.interruption.on_stop(lambda: handle.kill("stopped by the user"))
            try:
                return handle.wait(self._watched(rule, wanted.number))
            finally:
                forget()
                remove_checkpoints(folder / "output")

    def request(self, wanted: Run) -> TrialRequest:
        """Return what the launcher is asked for; the user's own environment is no part of it."""
        folder, own = self._folder(wanted.number).absolute(), wanted.configuration
        probe = {
            **own.probe,
            "substitute_config": self.substitute,
            "substitute_engine": self.engine or 0,
            "samples_from": self.samples_from,
            "allowed_writes": [str(folder), *(str(path) for path in self.allowed_writes)],
        }
        return TrialRequest(
            directory=folder,
            command=self.command.render(
                trial_dir=folder, config_path=folder / "ds_config.json", arguments=own.arguments
            ),
            ds_config=trackers_off(own.ds_config),
            environment={**trackers_off_environment(folder), **own.environment},
            probe=probe,
            run_id=self._run_id(wanted.number),
            placement=Placement(ranks=self.command.ranks),
            limits=self._limits(own),
        )

    def _limits(self, own: Configuration) -> Limits:
        """A compiler may fall silent in the middle of a run, when a new shape makes it compile again."""
        if not own.probe.get("compile"):
            return self.limits
        return replace(self.limits, hang_floor_seconds=max(self.limits.hang_floor_seconds, COMPILING_SECONDS))

    def _watched(self, rule: PrecisionRule, number: int) -> Callable[[Mapping[int, RankJournal]], str | None]:
        """Return the rule, telling the display whenever it has moved on."""
        shown = rule.progress

        def stop(journals: Mapping[int, RankJournal]) -> str | None:
            nonlocal shown
            self.renew()
            reason = rule(journals)
            if rule.progress is not shown:
                shown = rule.progress
                self.observer.trial_progress(number, shown.steps, shown.samples_per_second)
            return reason

        return stop

    def _refuse_foreign_writes(self, result: TrialResult) -> None:
        for journal in result.journals.values():
            for record in journal.of_kind("foreign_write"):
                path, operation = record.get("path"), record.get("operation")
                raise CommandError(
                    f"the script tried to write {path} ({operation}), and was refused",
                    where="command",
                    mend="put {trial_dir} into the option that names this folder, "
                    f"or allow it with --allow-writes {Path(str(path)).parent}",
                )

    def _fed_alike(self, wanted: Run, measured: Measurement) -> Measurement | Invalid:
        """Return the measurement, unless a step is not fed as in the user's own run."""
        fed = Feeding.of(self.header or {}, measured)
        if wanted.phase is Phase.BASELINE:
            self._own_feeding = fed
        return (fed.unlike(self._own_feeding) if self._own_feeding else None) or measured

    def _unless_stopped(self, outcome: Outcome) -> Outcome:
        """Return the outcome; whoever ends the whole job signals the ranks as well as us."""
        ended = outcome.kind is OutcomeKind.CRASHED and outcome.from_outside
        if not ended or not self.interruption.finish_requested:
            return outcome
        reason = f"ended from outside with the whole job: {outcome.reason}"
        return Outcome(kind=OutcomeKind.INTERRUPTED, reason=reason, rank=outcome.rank)

    def _report(self, wanted: Run, result: TrialResult) -> TrialReport:
        measured: Measurement | Invalid | None = None
        outcome = self._unless_stopped(result.outcome)
        if outcome.kind is OutcomeKind.COMPLETED:
            measured = measure(
                result.journals,
                startup_seconds=result.startup_seconds,
                device_memory_bytes=self.device_memory_bytes,
                gpus=self.gpus,
                objective=self.objective,
            )
            if isinstance(measured, Measurement):
                measured = self._fed_alike(wanted, measured)
            if isinstance(measured, Invalid):
                outcome = Outcome(kind=measured.outcome, reason=measured.reason)
        idle = idle_note(wanted.configuration, measured) if isinstance(measured, Measurement) else ()
        return TrialReport(
            number=wanted.number,
            phase=wanted.phase,
            configuration=wanted.configuration,
            outcome=outcome,
            measurement=measured if isinstance(measured, Measurement) else None,
            launcher=result.launcher,
            startup_seconds=result.startup_seconds,
            total_seconds=result.total_seconds,
            notes=(*result.notes, *idle),
            waited_seconds=result.waited_seconds,
            alerts=self._alerts(wanted, result, measured if isinstance(measured, Measurement) else None),
        )

    def _alerts(
        self, wanted: Run, result: TrialResult, measured: Measurement | None
    ) -> tuple[Alert, ...] | None:
        if self.rules is None:
            return None
        warmup_steps = measured.warmup_steps if measured else 0
        run = self._run_id(wanted.number)
        return self.rules.fired(result.journals, self.gpus, run=run, warmup_steps=warmup_steps)

    def _run_id(self, number: int) -> str:
        return f"{self.directory.name}-{number}"


def _refuse_full_disk(outcome: Outcome) -> None:
    """Raise where a write of the script failed for want of room: its configuration is not to blame."""
    if outcome.full_folder is not None:
        raise StorageFailed(
            f"the run could not write: {outcome.reason}",
            where=outcome.full_folder,
            mend="make room there, then resume with --resume",
        )


def remove_checkpoints(output: Path) -> None:
    """Remove a trial's checkpoints: nobody resumes from them, and those of a few runs fill a disk."""
    shutil.rmtree(output / "checkpoints", ignore_errors=True)
    for pattern in CHECKPOINT_FOLDERS:
        for folder in list(output.rglob(pattern)):
            shutil.rmtree(folder, ignore_errors=True)
    for path in list(output.rglob("*")):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink() and path.stat().st_size > LARGEST_KEPT_BYTES:
                path.unlink()
