"""Alerts, mutes and times in the words of ``flyball alerts``."""

from collections.abc import Mapping
from datetime import datetime

from flyball.agent.durations import format_duration
from flyball.history.alert_records import Alert, AlertStatus, LoggedAlert, Mute

_FIRST_LABELS = ("host", "gpu", "run", "rank")
_IN_OTHER_COLUMNS = ("alertname", "severity")


def moment(seconds: float) -> str:
    """Return a time of this host's zone, to the second."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def labels_text(labels: Mapping[str, str]) -> str:
    """Return ``label=value`` pairs, those that say where first; name and severity stand elsewhere."""
    first = [name for name in _FIRST_LABELS if name in labels]
    rest = sorted(set(labels) - {*_FIRST_LABELS, *_IN_OTHER_COLUMNS})
    return pairs_text({name: labels[name] for name in (*first, *rest)})


def pairs_text(pairs: Mapping[str, str]) -> str:
    """Return ``label=value`` pairs."""
    return " ".join(f"{name}={value}" for name, value in pairs.items())


def status_began(alert: Alert, changed_time: float | None = None) -> float:
    """Return since when an alert has the status that it has."""
    began = {
        AlertStatus.PENDING: alert.active_time,
        AlertStatus.FIRING: alert.fired_time,
        AlertStatus.RESOLVED: alert.resolved_time,
        AlertStatus.DROPPED: alert.resolved_time or changed_time,
    }[alert.status]
    return alert.active_time if began is None else began


def how_long(logged: LoggedAlert, now: float) -> str:
    """Return for how long an alert has had the status that it has."""
    return format_duration(now - status_began(logged.alert, logged.changed_time))


def matchers_text(mute: Mute) -> str:
    """Return what a mute matches."""
    return pairs_text(mute.matchers) or "all alerts"


def left_text(mute: Mute, now: float) -> str:
    """Return how long a mute still stands."""
    if mute.until_time is None:
        return "no end"
    return format_duration(mute.until_time - now) if mute.until_time > now else "ended"
