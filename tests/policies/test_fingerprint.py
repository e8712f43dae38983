"""Fingerprints; those here were read from a real Alertmanager (0.25) for the same labels."""

import pytest

from flyball.policies.fingerprint import fingerprint


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (
            {"severity": "critical", "host": "node-1", "gpu": "0", "alertname": "GpuLost"},
            "c001a00b6f24c78c",
        ),
        ({"run": "größe 1", "alertname": "Ünïcode", "severity": "warning"}, "031e9eae788de338"),
    ],
)
def test_it_is_alertmanagers(labels: dict[str, str], shown: str) -> None:
    assert fingerprint(labels) == shown


def test_no_labels_have_the_hash_of_nothing() -> None:
    assert fingerprint({}) == "cbf29ce484222325"
