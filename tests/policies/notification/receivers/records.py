"""Alerts and notifications as a receiver gets them."""

from dataclasses import dataclass, replace

from flyball.history.alert_records import Alert, AlertStatus, Notification
from flyball.policies.fingerprint import fingerprint

START = 1_700_000_000.25
"""2023-11-14T22:13:20.25Z."""


@dataclass
class FixedClock:
    """Always the same time, until it is set."""

    now: float = START

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


LABELS = {"alertname": "GpuLost", "host": "node-7", "gpu": "3", "uuid": "", "severity": "critical"}


def firing(**labels: str) -> Alert:
    """An alert that fires since ``START``, a minute after its condition began."""
    found = {**LABELS, **labels}
    filled = {name: value for name, value in found.items() if value}
    return Alert(
        rule=found["alertname"],
        labels=found,
        fingerprint=fingerprint(filled),
        annotations={
            "summary": 'GPU 3 of "node-7" is gone',
            "runbook_url": "https://example.org/gpu?a=1&b=<2>",
        },
        status=AlertStatus.FIRING,
        value=1.0,
        active_time=START - 60,
        fired_time=START,
    )


def resolved(alert: Alert, seconds: float = 90.5) -> Alert:
    """The same alert when it is over, so many seconds after it fired."""
    return replace(alert, status=AlertStatus.RESOLVED, resolved_time=START + seconds)


def notification(alert: Alert | None = None, webhook_id: str = "msg_1") -> Notification:
    """On its way to the receiver ``ops``."""
    return Notification(
        webhook_id=webhook_id, receiver="ops", alert=alert or firing(), created_time=START, attempts=1
    )
