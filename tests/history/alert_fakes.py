"""Alerts and notifications for tests."""

import itertools
from typing import Any

from flyball.history.alert_records import (
    Alert,
    AlertStatus,
    Delivery,
    Finished,
    Notification,
    Outcome,
    Transition,
)

_NUMBERS = itertools.count(1)


def alert(name: str = "a", status: AlertStatus = AlertStatus.FIRING, **changes: Any) -> Alert:
    """An alert whose fingerprint is its name; its times fit its status unless given."""
    active = changes.get("active_time", 100.0)
    told = status in (AlertStatus.FIRING, AlertStatus.RESOLVED)
    given: dict[str, Any] = {
        "rule": "GpuHot",
        "labels": {"alertname": "GpuHot", "severity": "warning", "gpu": name},
        "fingerprint": name,
        "annotations": {"summary": f"GPU {name} is hot"},
        "suggests": ("micro_batch",),
        "status": status,
        "value": 91.5,
        "active_time": active,
        "fired_time": active + 60 if told else None,
        "resolved_time": active + 120 if status is AlertStatus.RESOLVED else None,
    }
    return Alert(**{**given, **changes})


def pending(name: str = "a", **changes: Any) -> Alert:
    return alert(name, AlertStatus.PENDING, **changes)


def resolved(name: str = "a", **changes: Any) -> Alert:
    return alert(name, AlertStatus.RESOLVED, **changes)


def change(one: Alert, time: float = 1_000_000.0) -> Transition:
    return Transition(alert=one, time=time)


def told(one: Alert, receiver: str = "pager", time: float = 1_000_000.0) -> Notification:
    return Notification(
        webhook_id=f"msg_{next(_NUMBERS)}", receiver=receiver, alert=one, created_time=time, next_time=time
    )


def done(one: Notification, outcome: Outcome = Outcome.DELIVERED, **changes: Any) -> Finished:
    """A try that ended: well, unless ``next_time`` says that there is another."""
    next_time = changes.pop("next_time", None)
    if next_time is not None:
        outcome = Outcome.WAITING
    tried = {
        "time": 1_000_000.0,
        "seconds": 0.1,
        "outcome": "retry" if next_time else "delivered",
        "status": 200,
    }
    return Finished(
        webhook_id=one.webhook_id,
        outcome=outcome,
        delivery=Delivery(**{**tried, **changes}),
        next_time=next_time,
    )
