"""The body of a webhook, as Alertmanager writes it, of one alert that is a group of its own.

Version 4: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config. It is what Alertmanager
sends for a receiver whose route has ``group_by: ['...']``.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flyball.history.alert_records import Alert, AlertStatus

NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time, which Alertmanager writes for an end that is not known."""
_ROOT_ROUTE = "{}"
_SHORT_ESCAPES = {"\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v"}


def webhook_body(alert: Alert, *, receiver: str, external_url: str) -> bytes:
    """Return the body for ``alert`` as it stands, firing or resolved, as UTF-8 JSON."""
    labels = filled(alert.labels)
    status = "resolved" if alert.status is AlertStatus.RESOLVED else "firing"
    body = {
        "version": "4",
        "groupKey": f"{_ROOT_ROUTE}:{label_set(labels)}",
        "truncatedAlerts": 0,
        "status": status,
        "receiver": receiver,
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": dict(alert.annotations),
        "externalURL": external_url,
        "alerts": [_one(alert, labels, status, external_url)],
    }
    return json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")


def _one(alert: Alert, labels: Mapping[str, str], status: str, external_url: str) -> dict[str, Any]:
    ended = alert.resolved_time if status == "resolved" else None
    return {
        "status": status,
        "labels": labels,
        "annotations": dict(alert.annotations),
        "startsAt": rfc3339(starts_at(alert)),
        "endsAt": NEVER if ended is None else rfc3339(ended),
        "generatorURL": generator_url(external_url, alert),
        "fingerprint": alert.fingerprint,
    }


def starts_at(alert: Alert) -> float:
    """Return when the alert began to fire, which is Prometheus' startsAt, in seconds since the epoch."""
    return alert.active_time if alert.fired_time is None else alert.fired_time


def generator_url(external_url: str, alert: Alert) -> str:
    """Return where the agent shows the alert and all that was done about it."""
    return f"{external_url}/api/v1/alerts/{alert.fingerprint}"


def filled(labels: Mapping[str, str]) -> dict[str, str]:
    """Return the labels that have a value, by name: to Prometheus an empty one is none."""
    return {name: labels[name] for name in sorted(labels) if labels[name]}


def rfc3339(seconds: float) -> str:
    """Return a time as Go writes it: in UTC, to the millisecond, without zeros at its end."""
    milliseconds = round(seconds * 1000)
    whole = datetime.fromtimestamp(milliseconds // 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{milliseconds % 1000:03d}".rstrip("0").rstrip(".")
    return f"{whole}{fraction}Z"


def label_set(labels: Mapping[str, str]) -> str:
    """Return a label set as Prometheus prints it, ``{a="b", c="d"}``."""
    pairs = ", ".join(f"{name}={go_quoted(labels[name])}" for name in sorted(labels))
    return f"{{{pairs}}}"


def go_quoted(text: str) -> str:
    """Return ``text`` as Go's strconv.Quote does (https://pkg.go.dev/strconv#Quote)."""
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
