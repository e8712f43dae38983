"""Alerts, the notifications on their way, mutes, and requests to tune a run."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables, and give trials a place for the alerts that fired meanwhile."""
    op.add_column("flyball_trial", sa.Column("alerts", sa.JSON(), nullable=True))
    _alerts()
    _notifications()
    _surroundings()
    _tuning_requests()


def _alerts() -> None:
    op.create_table(
        "flyball_alert",
        _id(),
        _text("agent"),
        _text("fingerprint"),
        _number("active_time"),
        _text("rule"),
        _text("severity"),
        _text("status"),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("annotations", sa.JSON(), nullable=False),
        sa.Column("suggests", sa.JSON(), nullable=False),
        _text("value"),
        _number("fired_time", nullable=True),
        _number("quiet_time", nullable=True),
        _number("resolved_time", nullable=True),
        _number("changed_time"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_alert")),
        sa.UniqueConstraint(
            "agent",
            "fingerprint",
            "active_time",
            name=op.f("uq_flyball_alert_agent_fingerprint_active_time"),
        ),
    )
    op.create_index(op.f("ix_flyball_alert_agent_status"), "flyball_alert", ["agent", "status"])
    op.create_index(op.f("ix_flyball_alert_rule"), "flyball_alert", ["rule"])
    op.create_index(op.f("ix_flyball_alert_changed_time"), "flyball_alert", ["changed_time"])


def _notifications() -> None:
    op.create_table(
        "flyball_notification",
        _id(),
        _text("webhook_id"),
        _text("agent"),
        _text("receiver"),
        sa.Column("alert_id", sa.Integer(), nullable=False),
        _text("fingerprint"),
        _text("status"),
        sa.Column("document", sa.JSON(), nullable=False),
        _number("created_time"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        _number("waits_from"),
        _number("next_time", nullable=True),
        _text("outcome"),
        _number("finished_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_notification")),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["flyball_alert.id"],
            name=op.f("fk_flyball_notification_alert_id"),
            ondelete="CASCADE",
        ),
        sa.UniqueConstraint("webhook_id", name=op.f("uq_flyball_notification_webhook_id")),
        sa.UniqueConstraint(
            "alert_id", "receiver", "status", name=op.f("uq_flyball_notification_alert_id_receiver_status")
        ),
    )
    for last in (["outcome", "next_time"], ["fingerprint", "outcome"]):
        columns = ["agent", "receiver", *last]
        op.create_index(op.f(f"ix_flyball_notification_{'_'.join(columns)}"), "flyball_notification", columns)
    op.create_table(
        "flyball_delivery",
        _id(),
        sa.Column("notification_id", sa.Integer(), nullable=False),
        _number("time"),
        _number("seconds"),
        _text("outcome"),
        sa.Column("status", sa.Integer(), nullable=True),
        _text("detail"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_delivery")),
        sa.ForeignKeyConstraint(
            ["notification_id"],
            ["flyball_notification.id"],
            name=op.f("fk_flyball_delivery_notification_id"),
            ondelete="CASCADE",
        ),
    )
    op.create_index(op.f("ix_flyball_delivery_notification_id"), "flyball_delivery", ["notification_id"])


def _surroundings() -> None:
    op.create_table(
        "flyball_mute",
        _id(),
        sa.Column("matchers", sa.JSON(), nullable=False),
        _number("created_time"),
        _number("until_time", nullable=True),
        _text("comment"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_mute")),
    )
    op.create_table(
        "flyball_receiver",
        _text("agent"),
        _text("name"),
        _number("disabled_time"),
        _text("reason"),
        sa.PrimaryKeyConstraint("agent", "name", name=op.f("pk_flyball_receiver")),
    )
    op.create_table(
        "flyball_agent",
        _text("agent"),
        _number("evaluated_time"),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_flyball_agent")),
    )


def _tuning_requests() -> None:
    op.create_table(
        "flyball_tuning_request",
        _id(),
        _number("created_time"),
        _text("fingerprint"),
        _number("active_time"),
        _text("rule"),
        _text("run"),
        sa.Column("document", sa.JSON(), nullable=False),
        _number("taken_time", nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flyball_tuning_request")),
    )
    still_open = sa.text("taken_time IS NULL")
    op.create_index(
        "ix_flyball_tuning_request_open",
        "flyball_tuning_request",
        ["rule", "run"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def _id() -> "sa.Column[int]":
    return sa.Column("id", sa.Integer(), nullable=False)


def _text(name: str) -> "sa.Column[str]":
    return sa.Column(name, sa.Text(), nullable=False)


def _number(name: str, *, nullable: bool = False) -> "sa.Column[float]":
    return sa.Column(name, sa.Double(), nullable=nullable)
