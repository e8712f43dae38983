"""The tables of alerts and of what was said about them; times are seconds since the epoch."""

from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from flyball.history.columns import PlainJson
from flyball.history.tables import Base

_OPEN_REQUEST = text("taken_time IS NULL")


class AlertRow(Base):
    """One alert from its beginning to its end; agents of several hosts may share the table."""

    __tablename__ = "flyball_alert"
    __table_args__ = (
        UniqueConstraint("agent", "fingerprint", "active_time"),
        Index(None, "agent", "status"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    agent: Mapped[str]
    fingerprint: Mapped[str]
    active_time: Mapped[float]
    rule: Mapped[str] = mapped_column(index=True)
    severity: Mapped[str]
    status: Mapped[str]
    labels: Mapped[dict[str, Any]]
    annotations: Mapped[dict[str, Any]]
    suggests: Mapped[list[str]]
    value: Mapped[str]
    """As Prometheus writes numbers, since NaN and infinities are values here."""
    fired_time: Mapped[float | None]
    quiet_time: Mapped[float | None]
    resolved_time: Mapped[float | None]
    changed_time: Mapped[float] = mapped_column(index=True)


class NotificationRow(Base):
    """One change of one alert on its way to one receiver; ``id`` gives the order."""

    __tablename__ = "flyball_notification"
    __table_args__ = (
        UniqueConstraint("alert_id", "receiver", "status"),
        Index(None, "agent", "receiver", "outcome", "next_time"),
        Index(None, "agent", "receiver", "fingerprint", "outcome"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(unique=True)
    agent: Mapped[str]
    receiver: Mapped[str]
    alert_id: Mapped[int] = mapped_column(ForeignKey("flyball_alert.id", ondelete="CASCADE"))
    fingerprint: Mapped[str]
    status: Mapped[str]
    document: Mapped[dict[str, Any]]
    """The alert as it was."""
    created_time: Mapped[float]
    attempts: Mapped[int]
    waits_from: Mapped[float]
    """When ``next_time`` was fixed: a clock that stands before it was set back."""
    next_time: Mapped[float | None]
    """Null while an earlier one of the same alert and receiver is not finished."""
    outcome: Mapped[str]
    finished_time: Mapped[float | None]


class DeliveryRow(Base):
    """One try to deliver a notification."""

    __tablename__ = "flyball_delivery"

    id: Mapped[int] = mapped_column(primary_key=True)
    notification_id: Mapped[int] = mapped_column(
        ForeignKey("flyball_notification.id", ondelete="CASCADE"), index=True
    )
    time: Mapped[float]
    seconds: Mapped[float]
    outcome: Mapped[str]
    status: Mapped[int | None]
    detail: Mapped[str]


class MuteRow(Base):
    """Alerts that nobody wants to hear of for a time."""

    __tablename__ = "flyball_mute"

    id: Mapped[int] = mapped_column(primary_key=True)
    matchers: Mapped[dict[str, Any]]
    created_time: Mapped[float]
    until_time: Mapped[float | None]
    comment: Mapped[str]


class ReceiverRow(Base):
    """A receiver that said 410, Gone."""

    __tablename__ = "flyball_receiver"

    agent: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    disabled_time: Mapped[float]
    reason: Mapped[str]


class AgentRow(Base):
    """When an agent last evaluated its rules."""

    __tablename__ = "flyball_agent"

    agent: Mapped[str] = mapped_column(primary_key=True)
    evaluated_time: Mapped[float]


class TuningRequestRow(Base):
    """A run that an alert says should be tuned; at most one open for a rule and a run."""

    __tablename__ = "flyball_tuning_request"
    __table_args__ = (
        Index(
            "ix_flyball_tuning_request_open",
            "rule",
            "run",
            unique=True,
            sqlite_where=_OPEN_REQUEST,
            # PostgreSQL's stands in the migration alone: named here it would load the dialect for everyone.
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    created_time: Mapped[float]
    fingerprint: Mapped[str]
    active_time: Mapped[float]
    rule: Mapped[str]
    run: Mapped[str]
    document: Mapped[dict[str, Any]] = mapped_column(PlainJson)
    taken_time: Mapped[float | None]
