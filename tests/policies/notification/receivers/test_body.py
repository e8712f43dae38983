"""Alertmanager's body; tests/live holds it against Alertmanager's own."""

import json
from dataclasses import replace

import pytest
from tests.policies.notification.receivers.records import START, firing, resolved

from flyball.history.alert_records import Alert
from flyball.policies.notification.receivers.body import go_quoted, label_set, rfc3339, webhook_body


def body(alert: Alert) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        webhook_body(alert, receiver="ops", external_url="http://agent:19753")
    )
    return found


LABELS = {"alertname": "GpuLost", "gpu": "3", "host": "node-7", "severity": "critical"}


def test_a_firing_alert() -> None:
    alert = firing()
    assert body(alert) == {
        "version": "4",
        "groupKey": '{}:{alertname="GpuLost", gpu="3", host="node-7", severity="critical"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": LABELS,
        "commonLabels": LABELS,
        "commonAnnotations": dict(alert.annotations),
        "externalURL": "http://agent:19753",
        "alerts": [
            {
                "status": "firing",
                "labels": LABELS,
                "annotations": dict(alert.annotations),
                "startsAt": "2023-11-14T22:13:20.25Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": f"http://agent:19753/api/v1/alerts/{alert.fingerprint}",
                "fingerprint": alert.fingerprint,
            }
        ],
    }


def test_a_resolved_one_differs_in_status_and_end_alone() -> None:
    before, after = body(firing()), body(resolved(firing()))
    assert (before.pop("status"), after.pop("status")) == ("firing", "resolved")
    (was,), (is_now,) = before.pop("alerts"), after.pop("alerts")  # type: ignore[misc]
    assert before == after
    assert is_now == {**was, "status": "resolved", "endsAt": "2023-11-14T22:14:50.75Z"}


def test_text_that_is_no_unicode_does_not_stop_it() -> None:
    alert = replace(firing(), annotations={"summary": "node-\udcff is gone"})
    assert body(alert)["commonAnnotations"] == {"summary": "node-? is gone"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00Z"),
        (START, "2023-11-14T22:13:20.25Z"),
        (1_700_000_000.9996, "2023-11-14T22:13:21Z"),
        (1_700_000_000.001, "2023-11-14T22:13:20.001Z"),
        (4_102_444_800.1, "2100-01-01T00:00:00.1Z"),
    ],
)
def test_times(seconds: float, text: str) -> None:
    assert rfc3339(seconds) == text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a "b" \\ c', r'"a \"b\" \\ c"'),
        ("a\nb\tc", r'"a\nb\tc"'),
        ("\x00\x7f", r'"\x00\x7f"'),
        ("Zürich 東京 😀", '"Zürich 東京 😀"'),
        ("\u200b\ufeff", r'"\u200b\ufeff"'),
        ("\u00a0", r'"\u00a0"'),
        ("\U000e0001", r'"\U000e0001"'),
    ],
)
def test_quoting_as_go_does(text: str, quoted: str) -> None:
    assert go_quoted(text) == quoted


def test_a_label_set_is_ordered_by_name() -> None:
    assert label_set({"b": "2", "a": "1"}) == '{a="1", b="2"}'
    assert label_set({}) == "{}"
