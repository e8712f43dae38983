"""One study's record in the history: its experiment, its runs, and what of them a resume goes on from."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Never

import optuna
from optuna.storages import RDBStorage

from flyball.collectors.fingerprint import Fingerprint
from flyball.errors import Interrupted
from flyball.history.alert_rows import alert_of_document
from flyball.history.owner import Owner
from flyball.history.records import (
    FINISHED,
    INTERRUPTED,
    RUNNING,
    ConfigurationRecord,
    ExperimentRecord,
    PastTrial,
    TrialRecord,
)
from flyball.history.store import History
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Configuration, Phase, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions
from flyball.tuners.results.conclusion import Concluded
from flyball.tuners.results.output import alerts_json, measurement_from_json, measurement_json
from flyball.tuners.search.sampler import Search
from flyball.tuners.search.surrogate import Observation
from flyball.tuners.trials.trial_runner import TRIALS, Run

BUSY_SECONDS = 60

Finish = Callable[[TrialReport], None]


@dataclass(kw_only=True)
class Ledger:
    """The record of one study; made by ``ledger_opening``."""

    history: History
    experiment_id: int
    name: str
    seed: int
    output: Path
    options: StudyOptions
    owner: Owner
    machine: Fingerprint
    job_key: str
    """By which earlier studies of the same job are found."""
    _reports: list[TrialReport] = field(default_factory=list)
    _labels: dict[tuple[str, str], TrialReport] = field(default_factory=dict)
    _optuna: dict[int, TrialReport] = field(default_factory=dict)
    _next: int = 0
    _left_at: float | None = None
    """When the last run of an earlier part ended, until the first of this one begins."""

    @property
    def study_name(self) -> str:
        """Optuna's name of this study."""
        return f"flyball:{self.name}"

    def optuna_storage(self) -> RDBStorage:
        """Return Optuna's storage in the same database."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        database = self.history.database
        options: dict[str, Any] = (
            {"connect_args": {"timeout": BUSY_SECONDS}} if database.is_sqlite else {"pool_pre_ping": True}
        )
        with database.guard():
            return RDBStorage(database.url, engine_kwargs=options)

    def recover(self) -> list[TrialReport]:
        """Take in what earlier parts of the study did; runs that were left are marked interrupted."""
        self.history.recover(self.experiment_id)
        for trial in self.history.trials(self.experiment_id):
            self._next = max(self._next, trial.number + 1)
            if trial.status != RUNNING:
                report = replace(report_of(trial), paused_seconds=self._pause(trial.started_time))
                self._keep(report, trial.label, trial.optuna_number)
            self._left_at = trial.finished_time or trial.started_time
        return self._reports

    def _pause(self, now: float) -> float:
        return max(0.0, now - self._left_at) if self._left_at is not None else 0.0

    def _keep(self, report: TrialReport, label: str, optuna_number: int | None) -> None:
        self._reports.append(report)
        if report.outcome.kind is OutcomeKind.INTERRUPTED:
            return
        if label:
            self._labels[label, report.configuration.digest] = report
        if optuna_number is not None:
            self._optuna[optuna_number] = report

    def renew(self) -> None:
        """Say that this process still works on the experiment; cheap to call often."""
        self.history.renew(self.experiment_id, self.owner)

    def spent(self) -> float:
        """Seconds that the runs of earlier parts took."""
        return self.history.spend(self.experiment_id)

    def reports(self, *phases: Phase) -> list[TrialReport]:
        """Return the finished runs, of some phases or of all."""
        return [report for report in self._reports if not phases or report.phase in phases]

    def recorded(self, label: str, digest: str) -> TrialReport | None:
        """Return the finished run of a label, where an earlier part of the study made it."""
        return self._labels.get((label, digest))

    def next_number(self) -> int:
        """Return the number of the next run."""
        return self._next

    def trial_folder(self, number: int) -> Path:
        """Return where a run's files lie."""
        return self.output / TRIALS / str(number)

    @contextlib.contextmanager
    def trial(self, wanted: Run, *, label: str, optuna_number: int | None) -> Iterator[Finish]:
        """Record a run around its making; one that ends by an exception is recorded as interrupted."""
        paused, self._left_at = self._pause(time.time()), None
        trial_id = self.start(wanted, label=label, optuna_number=optuna_number)

        def finish(report: TrialReport) -> None:
            self.finish(trial_id, report)
            self._keep(replace(report, paused_seconds=paused), label, optuna_number)

        try:
            yield finish
        except BaseException as error:
            # A run that ended by a full disk or a signal says nothing about its configuration.
            with contextlib.suppress(Exception):
                self.history.finish_trial(
                    trial_id, outcome=INTERRUPTED, reason=f"{type(error).__name__}: {error}"
                )
            raise

    def start(self, wanted: Run, *, label: str, optuna_number: int | None) -> int:
        """Record that a run begins, and return the record's id."""
        own = wanted.configuration
        configuration_id = self.history.add_configuration(
            self.experiment_id,
            digest=own.digest,
            assignment=own.assignment,
            ds_config=own.ds_config,
            arguments=own.arguments,
            environment=own.environment,
            probe=own.probe,
        )
        trial_id = self.history.start_trial(
            self.experiment_id,
            number=wanted.number,
            phase=wanted.phase.value,
            configuration_id=configuration_id,
            owner=self.owner,
            label=label,
            optuna_number=optuna_number,
            placement={"hosts": [self.owner.host]},
        )
        self._next = wanted.number + 1
        return trial_id

    def finish(self, trial_id: int, report: TrialReport) -> None:
        """Record how a run ended."""
        measured = measurement_json(report.measurement) if report.measurement else None
        self.history.finish_trial(
            trial_id,
            outcome=report.outcome.kind.value,
            reason=report.outcome.reason,
            rank=report.outcome.rank,
            measurement=measured,
            telemetry=report.measurement.telemetry if report.measurement else None,
            launcher=report.launcher,
            startup_seconds=report.startup_seconds,
            waited_seconds=report.waited_seconds,
            total_seconds=report.total_seconds,
            notes=report.notes,
            alerts=alerts_json(report.alerts),
        )

    def settle(self, search: Search) -> None:
        """Tell Optuna what was recorded just before the process ended, and never told."""
        for number, report in self._optuna.items():
            if report.measurement is None and report.outcome.kind is OutcomeKind.COMPLETED:
                continue  # what the study compares by was not to be had
            rate = report.measurement.merit.point if report.measurement else None
            search.settle(number, rate, report.outcome.kind.value)

    def observations_elsewhere(self) -> list[Observation]:
        """Return what earlier experiments with the same command and objective measured on this machine."""
        past = self.history.matching(
            self.machine.digest,
            self.job_key,
            objective=self.options.objective.value,
            excluding=self.experiment_id,
        )
        return [
            Observation(assignment=dict(trial.assignment), value=_merit_of(trial, self.options.objective))
            for trial in past
            if trial.outcome == OutcomeKind.OUT_OF_MEMORY.value
            or (trial.outcome == OutcomeKind.COMPLETED.value and trial.samples_per_second is not None)
        ]

    def stop_if_asked(self, interruption: Interruption) -> None:
        """Leave the study where it stands when the user asked to stop now.

        Raises:
            Interrupted: the study can be resumed.
        """
        if interruption.stop_now:
            self.leave()

    def leave(self) -> Never:
        """Leave the study where it stands; raises Interrupted."""
        self.history.set_experiment_status(self.experiment_id, INTERRUPTED)
        raise Interrupted("stopped", where=self.name, mend=f"go on with: autotune --resume {self.name}")

    def keep(self, result: Concluded) -> None:
        """Keep the recommendation of a study that goes on."""
        self.history.save_recommendation(self.experiment_id, result.plain)

    def conclude(self, result: Concluded, *, finished: bool) -> None:
        """Keep the recommendation and end the lease."""
        self.keep(result)
        self.history.set_experiment_status(self.experiment_id, FINISHED if finished else INTERRUPTED)


def ledger_of(
    history: History, experiment: ExperimentRecord, options: StudyOptions, owner: Owner, machine: Fingerprint
) -> Ledger:
    """Return the ledger of a recorded study."""
    return Ledger(
        history=history,
        experiment_id=experiment.id,
        name=experiment.name,
        seed=experiment.seed or 0,
        output=Path(experiment.output_directory),
        options=options,
        owner=owner,
        machine=machine,
        job_key=experiment.command_digest,
    )


def _merit_of(trial: PastTrial, objective: Objective) -> float | None:
    if objective is Objective.THROUGHPUT or trial.measurement is None:
        return trial.samples_per_second
    return measurement_from_json(trial.measurement).merit.point


def report_of(trial: TrialRecord) -> TrialReport:
    """Return a recorded run as the study knows it."""
    return TrialReport(
        number=trial.number,
        phase=Phase(trial.phase),
        configuration=configuration_of(trial.configuration),
        outcome=Outcome(
            kind=OutcomeKind(trial.outcome or INTERRUPTED), reason=trial.reason or "", rank=trial.rank
        ),
        measurement=measurement_from_json(trial.measurement.document) if trial.measurement else None,
        launcher=trial.launcher or "",
        startup_seconds=trial.startup_seconds,
        total_seconds=trial.total_seconds or 0.0,
        waited_seconds=trial.waited_seconds or 0.0,
        notes=trial.notes,
        alerts=None if trial.alerts is None else tuple(map(alert_of_document, trial.alerts)),
    )


def configuration_of(record: ConfigurationRecord) -> Configuration:
    """Return a recorded configuration as the study knows it."""
    return Configuration(
        assignment=dict(record.assignment),
        ds_config=record.ds_config,
        arguments=record.arguments,
        environment=record.environment,
        probe=record.probe,
    )
