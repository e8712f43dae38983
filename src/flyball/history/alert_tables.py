"""The tables of alerts and of what was said about them; times are seconds since the epoch.

Not mapped: the agent lives long beside a workload, and the ORM takes 6 MB.
"""

from typing import Any

from sqlalchemy import Column, ForeignKey, Index, Integer, Table, UniqueConstraint, text

from flyball.history.columns import Number, PlainJson, Words
from flyball.history.metadata import METADATA

_OPEN_REQUEST = text("taken_time IS NULL")


def _words(name: str, **options: Any) -> Column[str]:
    return Column(name, Words, nullable=False, **options)


def _number(name: str, *, nullable: bool = False, **options: Any) -> Column[float]:
    return Column(name, Number, nullable=nullable, **options)


def _json(name: str) -> Column[Any]:
    return Column(name, PlainJson, nullable=False)


def _id() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _within(name: str, table: str, **options: Any) -> Column[int]:
    return Column(name, ForeignKey(f"{table}.id", ondelete="CASCADE"), nullable=False, **options)


ALERTS = Table(
    "flyball_alert",
    METADATA,
    _id(),
    _words("agent"),
    _words("fingerprint"),
    _number("active_time"),
    _words("rule", index=True),
    _words("severity"),
    _words("status"),
    _json("labels"),
    _json("annotations"),
    _json("suggests"),
    # As Prometheus writes numbers, since NaN and infinities are values here.
    _words("value"),
    _number("fired_time", nullable=True),
    _number("quiet_time", nullable=True),
    _number("resolved_time", nullable=True),
    _number("changed_time", index=True),
    UniqueConstraint("agent", "fingerprint", "active_time"),
    Index(None, "agent", "status"),
)
"""Alerts from their beginning to their end; agents of several hosts may share the table."""

NOTIFICATIONS = Table(
    "flyball_notification",
    METADATA,
    _id(),
    _words("webhook_id", unique=True),
    _words("agent"),
    _words("receiver"),
    _within("alert_id", "flyball_alert"),
    _words("fingerprint"),
    _words("status"),
    # The alert as it was.
    _json("document"),
    _number("created_time"),
    Column("attempts", Integer, nullable=False),
    # When next_time was fixed: a clock that stands before it was set back.
    _number("waits_from"),
    # Null while an earlier one of the same alert and receiver is not finished.
    _number("next_time", nullable=True),
    _words("outcome"),
    _number("finished_time", nullable=True),
    UniqueConstraint("alert_id", "receiver", "status"),
    Index(None, "agent", "receiver", "outcome", "next_time"),
    Index(None, "agent", "receiver", "fingerprint", "outcome"),
)
"""Changes of alerts on their way to one receiver each; ``id`` gives the order."""

DELIVERIES = Table(
    "flyball_delivery",
    METADATA,
    _id(),
    _within("notification_id", "flyball_notification", index=True),
    _number("time"),
    _number("seconds"),
    _words("outcome"),
    Column("status", Integer),
    _words("detail"),
)
"""Tries to deliver a notification."""

MUTES = Table(
    "flyball_mute",
    METADATA,
    _id(),
    _json("matchers"),
    _number("created_time"),
    _number("until_time", nullable=True),
    _words("comment"),
)
"""Alerts that nobody wants to hear of for a time."""

RECEIVERS = Table(
    "flyball_receiver",
    METADATA,
    _words("agent", primary_key=True),
    _words("name", primary_key=True),
    _number("disabled_time"),
    _words("reason"),
)
"""Receivers that said 410, Gone."""

AGENTS = Table("flyball_agent", METADATA, _words("agent", primary_key=True), _number("evaluated_time"))
"""When an agent last evaluated its rules."""

TUNING_REQUESTS = Table(
    "flyball_tuning_request",
    METADATA,
    _id(),
    _number("created_time"),
    _words("fingerprint"),
    _number("active_time"),
    _words("rule"),
    _words("run"),
    _json("document"),
    _number("taken_time", nullable=True),
    Index(
        "ix_flyball_tuning_request_open",
        "rule",
        "run",
        unique=True,
        sqlite_where=_OPEN_REQUEST,
        # PostgreSQL's stands in the migration alone: named here it would load the dialect for everyone.
    ),
)
"""Runs that an alert says should be tuned; at most one open for a rule and a run."""
