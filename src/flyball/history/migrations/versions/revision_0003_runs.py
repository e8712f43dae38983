"""Runs that ``flyball run`` started, and what ``flyball p2p`` measured."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "flyball_run",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("command", sa.JSON(), nullable=False),
        sa.Column("started_time", sa.Double(), nullable=False),
        sa.Column("finished_time", sa.Double(), nullable=True),
        sa.Column("exit_status", sa.Integer(), nullable=True),
        sa.Column("signal", sa.Integer(), nullable=True),
        sa.Column("summary", sa.JSON(), nullable=True),
        sa.Column("fingerprint_id", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(
            ["fingerprint_id"], ["flyball_fingerprint.id"], name=op.f("fk_flyball_run_fingerprint_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_run")),
    )
    op.create_index(op.f("ix_flyball_run_name"), "flyball_run", ["name"])
    op.create_index(op.f("ix_flyball_run_fingerprint_id"), "flyball_run", ["fingerprint_id"])
    op.create_table(
        "flyball_p2p",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_time", sa.Double(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("command", sa.JSON(), nullable=False),
        sa.Column("backend", sa.Text(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_p2p")),
    )
