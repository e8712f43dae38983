"""A sample alert, by which a receiver is tried out."""

from uuid import uuid4

from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.policies.fingerprint import fingerprint

NAME = "FlyballTest"


def sample_notification(receiver: str, *, host: str, time: float) -> Notification:
    """Return a notification of a sample alert that began to fire at ``time``, seconds since the epoch."""
    labels = {"alertname": NAME, "host": host, "severity": "info"}
    alert = Alert(
        rule=NAME,
        labels=labels,
        fingerprint=fingerprint(labels),
        annotations={
            "summary": f"A sample alert of flyball on {host}",
            "description": "Somebody tried out this receiver with flyball alerts test. Nothing is wrong.",
        },
        status=AlertStatus.FIRING,
        value=1.0,
        active_time=time,
        fired_time=time,
    )
    return Notification(webhook_id=f"msg_{uuid4().hex}", receiver=receiver, alert=alert, created_time=time)
