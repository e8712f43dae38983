"""The first tables: experiments, their configurations, trials, measurements and recommendations."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables, each after those that it refers to."""
    _create_fingerprint()
    _create_experiment()
    _create_configuration()
    _create_recommendation()
    _create_trial()
    _create_measurement()


def _create_fingerprint() -> None:
    op.create_table(
        "flyball_fingerprint",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_fingerprint")),
        sa.UniqueConstraint("digest", name=op.f("uq_flyball_fingerprint_digest")),
    )


def _create_experiment() -> None:
    op.create_table(
        "flyball_experiment",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_time", sa.Double(), nullable=False),
        sa.Column("finished_time", sa.Double(), nullable=True),
        sa.Column("command", sa.JSON(), nullable=False),
        sa.Column("command_digest", sa.Text(), nullable=False),
        sa.Column("base_config", sa.JSON(), nullable=False),
        sa.Column("space", sa.JSON(), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("budget_seconds", sa.Double(), nullable=True),
        sa.Column("output_directory", sa.Text(), nullable=False),
        sa.Column("fingerprint_id", sa.Integer(), nullable=False),
        sa.Column("owner_host", sa.Text(), nullable=True),
        sa.Column("owner_pid", sa.Integer(), nullable=True),
        sa.Column("owner_started", sa.Text(), nullable=True),
        sa.Column("lease_time", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["fingerprint_id"], ["flyball_fingerprint.id"], name=op.f("fk_flyball_experiment_fingerprint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_experiment")),
        sa.UniqueConstraint("name", name=op.f("uq_flyball_experiment_name")),
    )
    op.create_index(
        op.f("ix_flyball_experiment_command_digest"), "flyball_experiment", ["command_digest"], unique=False
    )
    op.create_index(
        op.f("ix_flyball_experiment_fingerprint_id"), "flyball_experiment", ["fingerprint_id"], unique=False
    )


def _create_configuration() -> None:
    op.create_table(
        "flyball_configuration",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("assignment", sa.JSON(), nullable=False),
        sa.Column("ds_config", sa.JSON(), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("environment", sa.JSON(), nullable=False),
        sa.Column("probe", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["flyball_experiment.id"],
            name=op.f("fk_flyball_configuration_experiment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_configuration")),
        sa.UniqueConstraint(
            "experiment_id", "digest", name=op.f("uq_flyball_configuration_experiment_id_digest")
        ),
    )


def _create_recommendation() -> None:
    op.create_table(
        "flyball_recommendation",
        sa.Column("experiment_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("created_time", sa.Double(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["flyball_experiment.id"],
            name=op.f("fk_flyball_recommendation_experiment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("experiment_id", name=op.f("pk_flyball_recommendation")),
    )


def _create_trial() -> None:
    op.create_table(
        "flyball_trial",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment_id", sa.Integer(), nullable=False),
        sa.Column("configuration_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("phase", sa.Text(), nullable=False),
        sa.Column("optuna_number", sa.Integer(), nullable=True),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("placement", sa.JSON(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("started_time", sa.Double(), nullable=False),
        sa.Column("finished_time", sa.Double(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("launcher", sa.Text(), nullable=True),
        sa.Column("startup_seconds", sa.Double(), nullable=True),
        sa.Column("total_seconds", sa.Double(), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("telemetry", sa.JSON(), nullable=True),
        sa.Column("owner_host", sa.Text(), nullable=False),
        sa.Column("owner_pid", sa.Integer(), nullable=False),
        sa.Column("owner_started", sa.Text(), nullable=False),
        sa.Column("lease_time", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["configuration_id"],
            ["flyball_configuration.id"],
            name=op.f("fk_flyball_trial_configuration_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            ["flyball_experiment.id"],
            name=op.f("fk_flyball_trial_experiment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_trial")),
        sa.UniqueConstraint("experiment_id", "number", name=op.f("uq_flyball_trial_experiment_id_number")),
    )
    op.create_index(
        op.f("ix_flyball_trial_configuration_id"), "flyball_trial", ["configuration_id"], unique=False
    )
    op.create_index(
        op.f("ix_flyball_trial_experiment_id_status"),
        "flyball_trial",
        ["experiment_id", "status"],
        unique=False,
    )


def _create_measurement() -> None:
    op.create_table(
        "flyball_measurement",
        sa.Column("trial_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("samples_per_second", sa.Double(), nullable=True),
        sa.Column("samples_per_second_low", sa.Double(), nullable=True),
        sa.Column("samples_per_second_high", sa.Double(), nullable=True),
        sa.Column("tokens_per_second", sa.Double(), nullable=True),
        sa.Column("steps", sa.Integer(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.Column("step_seconds_median", sa.Double(), nullable=True),
        sa.Column("peak_reserved_bytes", sa.BigInteger(), nullable=True),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"],
            ["flyball_trial.id"],
            name=op.f("fk_flyball_measurement_trial_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("pk_flyball_measurement")),
    )
