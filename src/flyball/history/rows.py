"""Rows into records."""

from flyball.history.models import (
    ConfigurationRow,
    ExperimentRow,
    MeasurementRow,
    P2pRow,
    RecommendationRow,
    RunRow,
    TrialRow,
)
from flyball.history.owner import Owner
from flyball.history.records import (
    ConfigurationRecord,
    ExperimentRecord,
    MeasurementRecord,
    P2pRecord,
    RecommendationRecord,
    RunRecord,
    TrialRecord,
)


def owner_of(row: ExperimentRow | TrialRow) -> Owner | None:
    """Return who holds an experiment or runs a trial."""
    if row.owner_host is None or row.owner_pid is None or row.owner_started is None:
        return None
    return Owner(host=row.owner_host, pid=row.owner_pid, started=row.owner_started)


def experiment_record(row: ExperimentRow) -> ExperimentRecord:
    """Return an experiment with its fingerprint."""
    return ExperimentRecord(
        id=row.id,
        name=row.name,
        status=row.status,
        created_time=row.created_time,
        finished_time=row.finished_time,
        command=tuple(row.command),
        command_digest=row.command_digest,
        base_config=row.base_config,
        space=row.space,
        options=row.options,
        seed=row.seed,
        budget_seconds=row.budget_seconds,
        output_directory=row.output_directory,
        fingerprint_digest=row.fingerprint.digest,
        fingerprint=row.fingerprint.document,
        owner=owner_of(row),
    )


def configuration_record(row: ConfigurationRow) -> ConfigurationRecord:
    """Return a configuration."""
    return ConfigurationRecord(
        id=row.id,
        digest=row.digest,
        assignment=row.assignment,
        ds_config=row.ds_config,
        arguments=row.arguments,
        environment=row.environment,
        probe=row.probe,
    )


def measurement_record(row: MeasurementRow) -> MeasurementRecord:
    """Return a measurement."""
    return MeasurementRecord(
        samples_per_second=row.samples_per_second,
        samples_per_second_low=row.samples_per_second_low,
        samples_per_second_high=row.samples_per_second_high,
        tokens_per_second=row.tokens_per_second,
        steps=row.steps,
        seconds=row.seconds,
        step_seconds_median=row.step_seconds_median,
        peak_reserved_bytes=row.peak_reserved_bytes,
        document=row.document,
    )


def trial_record(row: TrialRow) -> TrialRecord:
    """Return a trial with its configuration and its measurement."""
    return TrialRecord(
        id=row.id,
        experiment_id=row.experiment_id,
        number=row.number,
        phase=row.phase,
        optuna_number=row.optuna_number,
        label=row.label,
        placement=row.placement,
        configuration=configuration_record(row.configuration),
        status=row.status,
        outcome=row.outcome,
        reason=row.reason,
        rank=row.rank,
        launcher=row.launcher,
        startup_seconds=row.startup_seconds,
        waited_seconds=row.waited_seconds,
        total_seconds=row.total_seconds,
        started_time=row.started_time,
        finished_time=row.finished_time,
        notes=tuple(row.notes),
        measurement=measurement_record(row.measurement) if row.measurement else None,
        telemetry=row.telemetry,
        owner=Owner(host=row.owner_host, pid=row.owner_pid, started=row.owner_started),
        alerts=None if row.alerts is None else tuple(row.alerts),
    )


def recommendation_record(row: RecommendationRow) -> RecommendationRecord:
    """Return a recommendation."""
    return RecommendationRecord(
        experiment_id=row.experiment_id,
        created_time=row.created_time,
        verdict=row.verdict,
        document=row.document,
    )


def run_record(row: RunRow) -> RunRecord:
    """Return a run with the machine's fingerprint."""
    return RunRecord(
        id=row.id,
        name=row.name,
        host=row.host,
        folder=row.folder,
        command=tuple(row.command),
        started_time=row.started_time,
        finished_time=row.finished_time,
        exit_status=row.exit_status,
        signal=row.signal,
        summary=row.summary,
        fingerprint=row.fingerprint.document if row.fingerprint else None,
    )


def p2p_record(row: P2pRow) -> P2pRecord:
    """Return a measurement of links."""
    return P2pRecord(
        id=row.id,
        created_time=row.created_time,
        host=row.host,
        command=tuple(row.command),
        backend=row.backend,
        document=row.document,
    )
