"""Alerts into rows and documents, and back."""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Row

from flyball.history.alert_records import (
    Alert,
    AlertStatus,
    Delivery,
    LoggedAlert,
    Mute,
    Notification,
    TuningRequest,
)

_TIMES = ("active_time", "fired_time", "quiet_time", "resolved_time")
_SAME = ("rule", "fingerprint", *_TIMES)


def number_text(value: float) -> str:
    """Return a number as Prometheus writes it; ``float`` reads it back without loss."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def alert_document(alert: Alert) -> dict[str, Any]:
    """Return an alert as JSON."""
    return {
        **{name: getattr(alert, name) for name in _SAME},
        "status": str(alert.status),
        "value": number_text(alert.value),
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "suggests": list(alert.suggests),
    }


def alert_of_document(document: Mapping[str, Any]) -> Alert:
    """Return the alert that ``alert_document`` made it from."""
    return Alert(
        **{name: document[name] for name in _SAME},
        status=AlertStatus(document["status"]),
        value=float(document["value"]),
        labels=document["labels"],
        annotations=document["annotations"],
        suggests=tuple(document["suggests"]),
    )


def alert_columns(alert: Alert, *, agent: str, changed_time: float) -> dict[str, Any]:
    """Return an alert as a row's columns."""
    return {
        **alert_document(alert),
        "agent": agent,
        "severity": alert.severity,
        "changed_time": changed_time,
    }


def alert_record(row: Row[Any]) -> Alert:
    """Return an alert as it is now."""
    columns = (*_SAME, "status", "value", "labels", "annotations", "suggests")
    return alert_of_document({name: getattr(row, name) for name in columns})


def logged_alert(row: Row[Any]) -> LoggedAlert:
    """Return an alert with what the database adds."""
    return LoggedAlert(id=row.id, agent=row.agent, alert=alert_record(row), changed_time=row.changed_time)


def notification_record(row: Row[Any], *, told: bool = True) -> Notification:
    """Return a notification."""
    return Notification(
        id=row.id,
        webhook_id=row.webhook_id,
        receiver=row.receiver,
        alert=alert_of_document(row.document),
        created_time=row.created_time,
        attempts=row.attempts,
        next_time=row.created_time if row.next_time is None else row.next_time,
        outcome=row.outcome,
        finished_time=row.finished_time,
        told=told,
    )


def delivery_record(row: Row[Any]) -> Delivery:
    """Return one try."""
    return Delivery(
        time=row.time, seconds=row.seconds, outcome=row.outcome, status=row.status, detail=row.detail
    )


def mute_record(row: Row[Any]) -> Mute:
    """Return a mute."""
    return Mute(
        id=row.id,
        matchers=row.matchers,
        created_time=row.created_time,
        until_time=row.until_time,
        comment=row.comment,
    )


def tuning_request(row: Row[Any]) -> TuningRequest:
    """Return a request."""
    return TuningRequest(
        id=row.id,
        created_time=row.created_time,
        fingerprint=row.fingerprint,
        active_time=row.active_time,
        rule=row.rule,
        run=row.run,
        document=row.document,
        taken_time=row.taken_time,
    )
