"""What becomes of alerts that stood when the agent ended.

An alert is not ended because windows are empty after the start. Where its series is read again it stands
until the series' source has been read for the rule's whole window (with its offset, and for as long as its
phase is remembered), whatever the part of it says that there is. A series that does not come back, or that
lacks its partner or its ``run_info``, ends its alert a minute after the first reading, or after the rule's
window where that is longer: runs take some time to be found again. From then on it is an alert as any other.
"""

from collections.abc import Mapping
from dataclasses import replace

from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.rule import Rule
from flyball.policies.states import Firing, Pending, Subject

GRACE_MS = 60_000
"""For so long a series may stay away after a start."""


def restored(alert: Alert, rule: Rule, down_seconds: float) -> Pending | Firing:
    """The state of a recorded alert; while the agent was down nothing counted towards ``for``."""
    own = {*rule.labels, "severity", "alertname"}
    series: Mapping[str, str] = {name: value for name, value in alert.labels.items() if name not in own}
    subject = Subject(labels=alert.labels, series=series, fingerprint=alert.fingerprint)
    if alert.status is AlertStatus.PENDING:
        return Pending(subject=subject, value=alert.value, active_time=alert.active_time + down_seconds)
    return Firing(
        subject=subject,
        value=alert.value,
        active_time=alert.active_time,
        fired_time=alert.active_time if alert.fired_time is None else alert.fired_time,
        quiet_time=alert.quiet_time,
    )


def ended(alert: Alert, now: float) -> Alert:
    """An alert whose rule is gone, or that goes on under another ``active_time``."""
    status = AlertStatus.DROPPED if alert.status is AlertStatus.PENDING else AlertStatus.RESOLVED
    return replace(alert, status=status, resolved_time=now)
