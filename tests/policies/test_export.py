"""The exported rule file: what stands in it, and that promtool takes it."""

import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML
from tests.patience import PATIENCE_SECONDS

from flyball.collectors import catalog
from flyball.policies.export import prometheus_rules
from flyball.policies.promql import recordings
from flyball.policies.rule import Comparison, Expression, Operand, Rule, Severity
from flyball.policies.rule_file import DEFAULT, read_rules
from flyball.tuners.knobs.registry import BY_NAME

HOT = Rule(
    alert="Hot",
    expression=Expression(left=Operand(metric=catalog.GPU_TEMPERATURE)),
    comparison=Comparison.ABOVE,
    threshold=90,
    for_seconds=90,
    keep_firing_for_seconds=300,
    severity=Severity.CRITICAL,
    labels={"team": "{{ none }}"},
    annotations={
        "summary": "GPU {{ labels.gpu }}:\n{{ value | number }} \u2028 degrees",
        "action": " - cool it",
    },
    suggests=("micro_batch",),
)


def check(promtool: str, path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [promtool, "check", "rules", path],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def test_all_of_a_rule_but_what_is_for_the_tuner() -> None:
    document = YAML(typ="safe").load(prometheus_rules([HOT]))
    assert document == {
        "groups": [
            {
                "name": "flyball",
                "rules": [
                    {
                        "alert": "Hot",
                        "expr": "flyball_gpu_temperature_celsius > 90",
                        "for": "1m30s",
                        "keep_firing_for": "5m",
                        "labels": {"team": '{{ "{{" }} none }}', "severity": "critical"},
                        "annotations": {
                            "summary": "GPU {{ $labels.gpu }}:\n{{ $value | humanize }} \u2028 degrees",
                            "action": " - cool it",
                        },
                    }
                ],
            }
        ]
    }


def test_what_is_not_said_is_left_out() -> None:
    bare = Rule(alert="Hot", expression=HOT.expression, comparison=Comparison.ABOVE)
    (entry,) = YAML(typ="safe").load(prometheus_rules([bare]))["groups"][0]["rules"]
    assert entry.keys() == {"alert", "expr", "labels"}


@pytest.mark.live
def test_promtool_takes_odd_texts(tmp_path: Path, promtool: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(prometheus_rules([HOT]), encoding="utf-8")
    done = check(promtool, path)
    assert done.returncode == 0, done.stderr


@pytest.mark.live
def test_promtool_takes_the_policies_that_come_with_flyball(tmp_path: Path, promtool: str) -> None:
    rules = read_rules([DEFAULT], known_knobs=BY_NAME)
    path = tmp_path / "rules.yml"
    path.write_text(prometheus_rules(rules), encoding="utf-8")
    done = check(promtool, path)
    assert done.returncode == 0, done.stderr
    records = {name for rule in rules for name in recordings(rule)}
    assert f"SUCCESS: {len(rules) + len(records)} rules found" in done.stdout


def test_what_a_phase_needs_is_recorded_once_and_before_all_alerts() -> None:
    expression = Expression(left=Operand(metric=catalog.LOSS))
    both = [
        Rule(alert=name, expression=expression, comparison=Comparison.ABOVE, phase="stepping")
        for name in "AB"
    ]
    entries = YAML(typ="safe").load(prometheus_rules([HOT, *both]))["groups"][0]["rules"]
    assert [entry.get("record", entry.get("alert")) for entry in entries] == [
        "stepping:flyball_loss",
        *("Hot", "A", "B"),
    ]


@pytest.mark.live
def test_promtool_would_see_a_fault(tmp_path: Path, promtool: str) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(prometheus_rules([HOT]).replace("> 90", "> 90 90"), encoding="utf-8")
    assert check(promtool, path).returncode != 0
