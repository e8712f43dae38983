"""The tables of studies and runs; the migrations must agree."""

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from flyball.history.columns import PlainJson
from flyball.history.tables import Base


class FingerprintRow(Base):
    """Hardware and software that experiments ran on."""

    __tablename__ = "flyball_fingerprint"

    id: Mapped[int] = mapped_column(primary_key=True)
    digest: Mapped[str] = mapped_column(unique=True)
    document: Mapped[dict[str, Any]]


class ExperimentRow(Base):
    """One study of one command; times are seconds since the epoch."""

    __tablename__ = "flyball_experiment"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str]
    created_time: Mapped[float]
    finished_time: Mapped[float | None]
    command: Mapped[list[str]]
    command_digest: Mapped[str] = mapped_column(index=True)
    base_config: Mapped[dict[str, Any]]
    space: Mapped[dict[str, Any]]
    options: Mapped[dict[str, Any]]
    seed: Mapped[int | None] = mapped_column(BigInteger)
    budget_seconds: Mapped[float | None]
    output_directory: Mapped[str]
    fingerprint_id: Mapped[int] = mapped_column(ForeignKey("flyball_fingerprint.id"), index=True)
    owner_host: Mapped[str | None]
    owner_pid: Mapped[int | None]
    owner_started: Mapped[str | None]
    lease_time: Mapped[float | None]

    fingerprint: Mapped[FingerprintRow] = relationship(lazy="joined", innerjoin=True)


class ConfigurationRow(Base):
    """One point of an experiment's space, rendered."""

    __tablename__ = "flyball_configuration"
    __table_args__ = (UniqueConstraint("experiment_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("flyball_experiment.id", ondelete="CASCADE"))
    digest: Mapped[str]
    assignment: Mapped[dict[str, Any]]
    ds_config: Mapped[dict[str, Any]]
    arguments: Mapped[dict[str, Any]]
    environment: Mapped[dict[str, Any]]
    probe: Mapped[dict[str, Any]]


class MeasurementRow(Base):
    """What one trial did: the numbers one asks for, and the whole document."""

    __tablename__ = "flyball_measurement"

    trial_id: Mapped[int] = mapped_column(
        ForeignKey("flyball_trial.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    samples_per_second: Mapped[float | None]
    samples_per_second_low: Mapped[float | None]
    samples_per_second_high: Mapped[float | None]
    tokens_per_second: Mapped[float | None]
    steps: Mapped[int | None]
    seconds: Mapped[float | None]
    step_seconds_median: Mapped[float | None]
    peak_reserved_bytes: Mapped[int | None] = mapped_column(BigInteger)
    document: Mapped[dict[str, Any]]


class TrialRow(Base):
    """One run of the user's command, its owner and how it ended."""

    __tablename__ = "flyball_trial"
    __table_args__ = (
        UniqueConstraint("experiment_id", "number"),
        Index(None, "experiment_id", "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    experiment_id: Mapped[int] = mapped_column(ForeignKey("flyball_experiment.id", ondelete="CASCADE"))
    configuration_id: Mapped[int] = mapped_column(
        ForeignKey("flyball_configuration.id", ondelete="CASCADE"), index=True
    )
    number: Mapped[int]
    phase: Mapped[str]
    optuna_number: Mapped[int | None]
    label: Mapped[str]
    placement: Mapped[dict[str, Any]]
    status: Mapped[str]
    started_time: Mapped[float]
    finished_time: Mapped[float | None]
    outcome: Mapped[str | None]
    reason: Mapped[str | None]
    rank: Mapped[int | None]
    launcher: Mapped[str | None]
    startup_seconds: Mapped[float | None]
    total_seconds: Mapped[float | None]
    notes: Mapped[list[str]]
    telemetry: Mapped[dict[str, Any] | None] = mapped_column(PlainJson)
    owner_host: Mapped[str]
    owner_pid: Mapped[int]
    owner_started: Mapped[str]
    lease_time: Mapped[float]
    waited_seconds: Mapped[float | None]
    alerts: Mapped[list[dict[str, Any]] | None] = mapped_column(PlainJson)
    """That fired while it ran; nobody is told of them."""

    configuration: Mapped[ConfigurationRow] = relationship(lazy="joined", innerjoin=True)
    measurement: Mapped[MeasurementRow | None] = relationship(lazy="joined")


class RecommendationRow(Base):
    """What a study came to."""

    __tablename__ = "flyball_recommendation"

    experiment_id: Mapped[int] = mapped_column(
        ForeignKey("flyball_experiment.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    created_time: Mapped[float]
    verdict: Mapped[str]
    document: Mapped[dict[str, Any]]


class RunRow(Base):
    """One run that ``flyball run`` started on one host; times are seconds since the epoch."""

    __tablename__ = "flyball_run"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(index=True)
    host: Mapped[str]
    folder: Mapped[str]
    command: Mapped[list[str]]
    started_time: Mapped[float]
    finished_time: Mapped[float | None]
    exit_status: Mapped[int | None]
    signal: Mapped[int | None]
    summary: Mapped[dict[str, Any] | None] = mapped_column(PlainJson)
    fingerprint_id: Mapped[int | None] = mapped_column(ForeignKey("flyball_fingerprint.id"), index=True)

    fingerprint: Mapped[FingerprintRow | None] = relationship(lazy="joined")


class P2pRow(Base):
    """One measurement of the links between ranks."""

    __tablename__ = "flyball_p2p"

    id: Mapped[int] = mapped_column(primary_key=True)
    created_time: Mapped[float]
    host: Mapped[str]
    command: Mapped[list[str]]
    backend: Mapped[str]
    document: Mapped[dict[str, Any]]
