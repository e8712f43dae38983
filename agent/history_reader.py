"""Reads the history database into the records that are shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flyball.agent.history_records import PastExperiment, PastLinks, PastRun, PastTrial
from flyball.agent.redact import redact_command
from flyball.collectors.run_liveness import is_running
from flyball.database import open_database, parse_address
from flyball.history.records import RUNNING, ExperimentSummary, P2pRecord, RunRecord, TrialRecord
from flyball.history.run_log import RunLog
from flyball.history.store import History
from flyball.settings import history_url


class HistoryReader:
    """The experiments of one history, for showing."""

    def __init__(self, history: History) -> None:
        self._history = history

    def experiments(self) -> list[PastExperiment]:
        """Return every experiment, the newest first."""
        summaries = sorted(self._history.experiments(), key=lambda each: -each.experiment.created_time)
        return [self._experiment(summary) for summary in summaries]

    def trials(self, experiment: PastExperiment) -> list[PastTrial]:
        """Return its trials, by number."""
        return sorted(map(_trial, self._history.trials(experiment.id)), key=lambda trial: trial.number)

    def runs(self) -> list[PastRun]:
        """Return every watched run, the newest first."""
        return [_run(record) for record in RunLog(self._history.database).runs()]

    def links(self) -> list[PastLinks]:
        """Return every measurement of links, the newest first."""
        return [_links(record) for record in RunLog(self._history.database).p2p()]

    def _experiment(self, summary: ExperimentSummary) -> PastExperiment:
        record = summary.experiment
        recommendation = self._history.recommendation(record.id)
        running = {RUNNING: summary.running_trials} if summary.running_trials else {}
        return PastExperiment(
            id=record.id,
            name=record.name,
            status=record.status,
            created=record.created_time,
            seconds=summary.duration_seconds,
            command=tuple(redact_command(record.command)),
            base_config=record.base_config,
            space=record.space,
            options=record.options,
            seed=record.seed,
            budget_seconds=record.budget_seconds,
            output_directory=record.output_directory,
            fingerprint=record.fingerprint,
            outcomes={**summary.outcomes, **running},
            best_samples_per_second=summary.best_samples_per_second,
            verdict=summary.verdict,
            recommendation=recommendation.document if recommendation else None,
        )


class NoHistory:
    """The history before the first study."""

    def experiments(self) -> list[PastExperiment]:
        """Return no experiment."""
        return []

    def trials(self, experiment: PastExperiment) -> list[PastTrial]:
        """Return no trial."""
        return []

    def runs(self) -> list[PastRun]:
        """Return no run."""
        return []

    def links(self) -> list[PastLinks]:
        """Return no measurement."""
        return []


@contextmanager
def open_history(url: str) -> Iterator[HistoryReader | NoHistory]:
    """Yield a reader of the history at ``url``; nothing is made, also where the default is not there yet.

    Raises:
        DatabaseError: it cannot be used.
    """
    path = parse_address(url).path
    if url == history_url() and path is not None and not path.exists():
        yield NoHistory()
        return
    with open_database(url, for_reading=True) as database:
        yield HistoryReader(History(database))


def _trial(record: TrialRecord) -> PastTrial:
    return PastTrial(
        number=record.number,
        phase=record.phase,
        outcome=record.outcome or RUNNING,
        reason=record.reason or "",
        launcher=record.launcher,
        startup_seconds=record.startup_seconds,
        total_seconds=record.total_seconds,
        notes=record.notes,
        assignment=record.configuration.assignment,
        ds_config=record.configuration.ds_config,
        arguments=record.configuration.arguments,
        environment=record.configuration.environment,
        probe=record.configuration.probe,
        measurement=record.measurement.document if record.measurement else None,
        alerts=record.alerts,
    )


def _run(record: RunRecord) -> PastRun:
    return PastRun(
        name=record.name,
        host=record.host,
        folder=record.folder,
        command=tuple(redact_command(record.command)),
        started=record.started_time,
        finished=record.finished_time,
        running=record.finished_time is None and bool(record.folder) and is_running(Path(record.folder)),
        exit_status=record.exit_status,
        signal=record.signal,
        summary=record.summary,
        fingerprint=record.fingerprint,
    )


def _links(record: P2pRecord) -> PastLinks:
    return PastLinks(
        id=record.id,
        measured=record.created_time,
        host=record.host,
        command=tuple(redact_command(record.command)),
        backend=record.backend,
        document=record.document,
    )
