"""What is said of policies' tests that fail, and that others say nothing."""

from pathlib import Path

import pytest

from flyball.policies.expectation_file import read_scenarios
from flyball.policies.expectation_run import failures

POLICIES = """
policies:
  - alert: Hot
    metric: gpu_temperature_celsius
    above: 90
    for: 1m
    annotations: {summary: "{{ labels.gpu }} has {{ value }}"}
  - alert: Queue
    metric: queue_length
    at_least: 5
  - alert: Slow
    metric: step_seconds
    aggregate: avg
    window: 1m
    above: 2
    severity: info
  - alert: Idle
    metric: step_seconds
    aggregate: increase
    window: 1m
    at_most: 0
"""
LABELS = 'labels: {gpu: "0", severity: warning}'
HOT = "{series: 'gpu_temperature_celsius{gpu=\"0\"}', values: '80x3 95x20'}"
"""Above 90 from 1m on, so that it fires at 2m."""


def said(tmp_path: Path, test: str, *, interval: str = "15s") -> list[str]:
    (tmp_path / "p.yaml").write_text(POLICIES, encoding="utf-8")
    path = tmp_path / "t.yaml"
    path.write_text(f"policies: [p.yaml]\ninterval: {interval}\ntests:\n  - {test}\n", encoding="utf-8")
    scenarios = read_scenarios(path, known_knobs=())
    lines = [text for scenario in scenarios.scenarios for text in failures(scenario, scenarios)]
    return "\n".join(lines).replace(f"{path}:", "").split("\n") if lines else []


@pytest.mark.parametrize(
    "expectation",
    [
        "{at: 1m45s, alert: Hot, expect: []}",
        '{at: 2m, alert: Hot, expect: [labels: {gpu: "0", severity: warning}]}',
        '{at: 2m14s, alert: Hot, expect: [labels: {gpu: "0", severity: warning}]}',
        f"{{at: 2m, alert: Hot, expect: [{{{LABELS}, annotations: {{summary: 0 has 95}}}}]}}",
        '{at: 2m, expect: [labels: {alertname: Hot, gpu: "0", severity: warning}]}',
        "{at: 2m, alert: Queue, expect: []}",
    ],
)
def test_what_is_met(tmp_path: Path, expectation: str) -> None:
    assert said(tmp_path, f"{{name: hot, series: [{HOT}], alerts: [{expectation}]}}") == []


@pytest.mark.parametrize(
    ("expectation", "lines"),
    [
        (
            "{at: 2m, alert: Hot, expect: []}",
            [
                "4: hot: Hot at 2m",
                '  got: {alertname="Hot", gpu="0", severity="warning"}',
                "  expected: nothing",
            ],
        ),
        (
            '{at: 1m59s, alert: Hot, expect: [labels: {gpu: "0", severity: warning}]}',
            [
                "4: hot: Hot at 1m59s",
                '  expected: {alertname="Hot", gpu="0", severity="warning"}',
                "  got: nothing else",
            ],
        ),
        (
            '{at: 2m, alert: Hot, expect: [labels: {gpu: "1", severity: warning}]}',
            [
                "4: hot: Hot at 2m",
                '  expected: {alertname="Hot", gpu="1", severity="warning"}',
                '  got: {alertname="Hot", gpu="0", severity="warning"}',
            ],
        ),
        (
            f"{{at: 2m, alert: Hot, expect: [{{{LABELS}, annotations: {{summary: hot}}}}]}}",
            [
                "4: hot: Hot at 2m",
                '  expected: {alertname="Hot", gpu="0", severity="warning"}',
                '    summary: "hot"',
                '  got: {alertname="Hot", gpu="0", severity="warning"}',
                '    summary: "0 has 95"',
            ],
        ),
        (
            "{at: 3m, expect: []}",
            [
                "4: hot: all alerts at 3m",
                '  got: {alertname="Hot", gpu="0", severity="warning"}',
                "  expected: nothing",
            ],
        ),
    ],
)
def test_what_is_not_met(tmp_path: Path, expectation: str, lines: list[str]) -> None:
    assert said(tmp_path, f"{{name: hot, series: [{HOT}], alerts: [{expectation}]}}") == lines


@pytest.mark.parametrize(
    ("at", "fires"), [("299ms", False), ("300ms", True), ("399ms", True), ("400ms", False)]
)
def test_an_expectation_is_of_the_last_evaluation_before_it(tmp_path: Path, at: str, fires: bool) -> None:
    alerts = "[labels: {rank: '0', severity: warning}]" if fires else "[]"
    series = "{series: 'queue_length{rank=\"0\"}', values: '1 1 1 9 1'}"
    test = f"{{series: [{series}], alerts: [{{at: {at}, alert: Queue, expect: {alerts}}}]}}"
    assert said(tmp_path, test, interval="100ms") == []


def test_what_is_not_quiet_is_said_once(tmp_path: Path) -> None:
    assert said(tmp_path, f"{{quiet: 1m45s, series: [{HOT}]}}") == []
    assert said(tmp_path, f"{{quiet: 10m, series: [{HOT}]}}") == [
        "4: test 1: at 2m, where all must be quiet",
        '  got: {alertname="Hot", gpu="0", severity="warning"}',
        "  expected: nothing",
    ]


@pytest.mark.parametrize(
    ("values", "at", "fires"),
    [
        ("8x3", "45s", True),
        ("8x3 _x2", "1m15s", True),
        ("8x3", "5m45s", True),  # it was read last at 45s, and holds for five minutes
        ("8x3", "6m", False),
        ("8x3 stale", "1m", False),
        ("8x3 stale 8", "1m15s", True),
    ],
)
def test_gaps_are_bridged_and_what_is_stale_is_gone(
    tmp_path: Path, values: str, at: str, fires: bool
) -> None:
    alerts = "[labels: {rank: '0', severity: warning}]" if fires else "[]"
    series = f"{{series: 'queue_length{{rank=\"0\"}}', values: '{values}'}}"
    test = f"{{series: [{series}], alerts: [{{at: {at}, alert: Queue, expect: {alerts}}}]}}"
    assert said(tmp_path, test) == []


@pytest.mark.parametrize(
    ("values", "alert", "severity"),
    [("1x10 4x10", "Slow", "info"), ("1x10 NaNx10", "Idle", "warning")],
)
def test_values_of_a_histogram_are_what_was_observed(
    tmp_path: Path, values: str, alert: str, severity: str
) -> None:
    series = f"{{series: 'step_seconds{{rank=\"0\"}}', values: '{values}', observations: 7}}"
    expected = f"[labels: {{alertname: {alert}, rank: '0', severity: {severity}}}]"
    assert (
        said(tmp_path, f"{{series: [{series}], quiet: 2m, alerts: [{{at: 5m, expect: {expected}}}]}}") == []
    )
