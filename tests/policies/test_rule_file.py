"""Policy files: what they become, and what is refused in which words.

Each file of ``bad/`` is named after its fault; ``bad/EXPECTED.txt`` has all that is said of it, line by line.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from flyball.collectors import catalog
from flyball.errors import PolicyError
from flyball.policies.rule import (
    Aggregate,
    Arithmetic,
    Comparison,
    Expression,
    Match,
    Matcher,
    Operand,
    Rule,
    Severity,
)
from flyball.policies.rule_file import read_rules

KNOBS = ("micro_batch", "compile")
BAD = Path(__file__).parent / "bad"


def expected() -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {path.name: [] for path in sorted(BAD.glob("*.yaml"))}
    for line in (BAD / "EXPECTED.txt").read_text("utf-8").splitlines():
        found[line.partition(":")[0]].append(line)
    return found


def faults(*paths: Path, folder: Path) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        read_rules(paths, known_knobs=KNOBS)
    return str(caught.value).replace(f"{folder}/", "").split("\n")


def read_text(tmp_path: Path, text: str) -> tuple[Rule, ...]:
    (tmp_path / "p.yaml").write_text(text, "utf-8")
    return read_rules([tmp_path / "p.yaml"], known_knobs=KNOBS)


@pytest.mark.parametrize("name", expected())
def test_every_fault_is_told_with_its_line_and_mend(name: str) -> None:
    told = faults(BAD / name, folder=BAD)
    assert told == expected()[name]
    assert all("; " in line for line in told)


def test_what_a_policy_becomes(tmp_path: Path) -> None:
    text = """
policies:
  - alert: SmUtilizationLow
    metric: gpu_sm_utilization_ratio
    match: {source: [gpm, dcgm], host: {regex: "gpu-.*", not: gpu-7}, gpu: {not: ["0", "1"]}, uuid: [x]}
    while: stepping
    aggregate: avg
    window: 2m
    offset: 1h30m
    below: 70%
    for: 5m
    keep_firing_for: 500ms
    severity: critical
    labels: {team: training}
    annotations: {summary: "GPU {{ labels.gpu }}"}
    suggests: [compile, micro_batch]
"""
    matchers = (
        Matcher(label="source", match=Match.REGEX, value="gpm|dcgm"),
        Matcher(label="host", match=Match.REGEX, value="gpu-.*"),
        Matcher(label="host", match=Match.NOT_EQUAL, value="gpu-7"),
        Matcher(label="gpu", match=Match.NOT_REGEX, value="0|1"),
        Matcher(label="uuid", match=Match.EQUAL, value="x"),
    )
    left = Operand(
        metric=catalog.GPU_SM_UTILIZATION,
        matchers=matchers,
        aggregate=Aggregate.AVG,
        window_seconds=120.0,
        offset_seconds=5400.0,
    )
    (rule,) = read_text(tmp_path, text)
    assert rule == Rule(
        alert="SmUtilizationLow",
        expression=Expression(left=left),
        comparison=Comparison.BELOW,
        threshold=0.7,
        phase="stepping",
        within_seconds=120.0,
        for_seconds=300.0,
        keep_firing_for_seconds=0.5,
        severity=Severity.CRITICAL,
        labels={"team": "training"},
        annotations={"summary": "GPU {{ labels.gpu }}"},
        suggests=("compile", "micro_batch"),
        place=f"{tmp_path}/p.yaml:3",
    )


def test_a_short_policy_has_the_defaults(tmp_path: Path) -> None:
    (rule,) = read_text(tmp_path, "policies: [{alert: A, metric: outbox_depth, above: 10}]")
    assert rule == Rule(
        alert="A",
        expression=Expression(left=Operand(metric=catalog.OUTBOX_DEPTH)),
        comparison=Comparison.ABOVE,
        threshold=10.0,
        severity=Severity.WARNING,
        place=f"{tmp_path}/p.yaml:1",
    )


@pytest.mark.parametrize(
    ("keys", "comparison", "threshold"),
    [
        ("metric: gpu_temperature_celsius, above: -5", Comparison.ABOVE, -5.0),
        ("metric: gpu_busy_ratio, at_least: 99.5%", Comparison.AT_LEAST, 0.995),
        ("metric: gpu_throttled, aggregate: avg, window: 5m, above: 20%", Comparison.ABOVE, 0.2),
        ("metric: straggler_ratio, above: 1.3", Comparison.ABOVE, 1.3),
        ("metric: collective_pending_seconds, above: 1h30m", Comparison.ABOVE, 5400.0),
        ("metric: collective_pending_seconds, above: 1.5ms", Comparison.ABOVE, 1.5e-3),
        ("metric: p2p_latency_seconds, aggregate: p50, window: 2m, above: 50us", Comparison.ABOVE, 50e-6),
        ("metric: p2p_latency_seconds, aggregate: p50, window: 2m, below: 900ns", Comparison.BELOW, 900e-9),
        ("metric: loss, is_nan: true", Comparison.NAN, 0.0),
        ("metric: loss, not_equal: 0", Comparison.NOT_EQUAL, 0.0),
        ("metric: host_load1, at_most: 1e-3", Comparison.AT_MOST, 1e-3),
        ("metric: gpu_throttled, equal: 1", Comparison.EQUAL, 1.0),
    ],
)
def test_thresholds_may_have_the_unit_of_what_they_are_compared_with(
    tmp_path: Path, keys: str, comparison: Comparison, threshold: float
) -> None:
    (rule,) = read_text(tmp_path, f"policies: [{{alert: A, {keys}}}]")
    assert (rule.comparison, rule.threshold) == (comparison, threshold)


@pytest.mark.parametrize(
    ("written", "phase", "within_seconds"),
    [
        ("stepping", "stepping", 120.0),
        ("evaluating", "evaluating", 0.0),
        ("finished", "finished", 0.0),
        ("{phase: stepping}", "stepping", 120.0),
        ("{phase: stepping, within: 5m}", "stepping", 300.0),
        ("{phase: stepping, within: 0}", "stepping", 0.0),
        ("{phase: checkpointing, within: 10m}", "checkpointing", 600.0),
        ("{phase: finished, within: 0s}", "finished", 0.0),
    ],
)
def test_a_phase_may_say_for_how_long_it_is_remembered(
    tmp_path: Path, written: str, phase: str, within_seconds: float
) -> None:
    (rule,) = read_text(tmp_path, f"policies: [{{alert: A, metric: loss, while: {written}, above: 5}}]")
    assert (rule.phase, rule.within_seconds) == (phase, within_seconds)


def test_an_absent_series_has_no_threshold(tmp_path: Path) -> None:
    (rule,) = read_text(tmp_path, "policies: [{alert: A, metric: run_info, match: {run: a}, absent: true}]")
    assert rule.absent
    assert rule.expression.left.matchers == (Matcher(label="run", match=Match.EQUAL, value="a"),)


def test_a_partner_by_name_is_looked_at_as_the_left_one_is(tmp_path: Path) -> None:
    keys = (
        'metric: gpu_memory_used_bytes, match: {gpu: "0"}, aggregate: max, window: 1m, offset: 5m, '
        "divided_by: gpu_memory_total_bytes, above: 95%"
    )
    (rule,) = read_text(tmp_path, f"policies: [{{alert: A, {keys}}}]")
    right = rule.expression.right
    assert rule.expression.arithmetic is Arithmetic.DIVIDED_BY
    assert right is not None
    assert right.metric is catalog.GPU_MEMORY_TOTAL
    assert right.matchers == rule.expression.left.matchers
    assert (right.aggregate, right.window_seconds, right.offset_seconds) == (Aggregate.MAX, 60.0, 300.0)


def test_a_partner_as_a_mapping_says_all_by_itself(tmp_path: Path) -> None:
    keys = "metric: queue_length, aggregate: min, window: 5m, minus: {metric: queue_length, offset: 5m}"
    (rule,) = read_text(tmp_path, f"policies: [{{alert: A, {keys}, above: -3}}]")
    assert rule.expression.right == Operand(metric=catalog.QUEUE_LENGTH, offset_seconds=300.0)


@pytest.mark.parametrize(
    ("baseline", "aggregate"), [("{window: 30m}", "p50"), ("{window: 30m, aggregate: p90}", "p90")]
)
def test_a_baseline_is_the_longer_window_before(tmp_path: Path, baseline: str, aggregate: str) -> None:
    keys = (
        "metric: step_seconds, match: {run: a}, aggregate: p50, window: 2m, offset: 1m, above: 150%, "
        f"baseline: {baseline}"
    )
    (rule,) = read_text(tmp_path, f"policies: [{{alert: A, {keys}}}]")
    assert rule.expression.arithmetic is Arithmetic.DIVIDED_BY
    assert rule.expression.right == Operand(
        metric=catalog.STEP_SECONDS,
        matchers=(Matcher(label="run", match=Match.EQUAL, value="a"),),
        aggregate=Aggregate(aggregate),
        window_seconds=1800.0,
        offset_seconds=180.0,
    )
    assert rule.threshold == 1.5


def test_values_of_a_list_stand_for_themselves(tmp_path: Path) -> None:
    (rule,) = read_text(
        tmp_path, "policies: [{alert: A, metric: host_load1, match: {host: [a.b, 'c+']}, above: 9}]"
    )
    assert rule.expression.left.matchers[0].value == r"a\.b|c\+"


def test_several_files_are_read_in_order_and_all_their_faults_are_told(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("policies: [{alert: A, metric: host_load1, above: 9}]", "utf-8")
    two.write_text("policies: [{alert: B, metric: host_load1, above: 19}]", "utf-8")
    assert [rule.alert for rule in read_rules([one, two, one], known_knobs=KNOBS)] == ["A", "B"]
    two.write_text("policies:\n- {alert: A, metric: host_load1, above: hot}", "utf-8")
    assert faults(one, two, tmp_path / "gone.yaml", folder=tmp_path) == [
        "two.yaml:2: policies.0.above: 'hot' is no number; write a number without quotes and unit",
        "gone.yaml: No such file or directory; name a file of policies, see docs/policies.md",
        "two.yaml:2: policies.0.alert: A is declared at one.yaml:1 already; give each a name of its own",
    ]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_text("# " + "x" * 2**20, "utf-8")
    (deep := tmp_path / "deep.yaml").write_text("policies: " + "[" * 20_000, "utf-8")
    told = faults(tmp_path, large, deep, folder=tmp_path.parent)
    assert len(told) == 3
    assert "Is a directory" in told[0]
    assert "is larger than 1 MiB" in told[1]
    assert "deep.yaml:1: is nested too deeply" in told[2]


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    text = "\ufeffpolicies: [{alert: A, metric: host_load1, above: 9}]"
    assert [rule.alert for rule in read_text(tmp_path, text)] == ["A"]


_SCALARS = some.one_of(
    some.none(),
    some.booleans(),
    some.integers(),
    some.floats(),
    some.text(max_size=8),
    some.sampled_from(["5m", "70%", "avg", "stepping", "loss", "step_seconds", "{{ value }}", ".*"]),
)
_VALUES = some.recursive(
    _SCALARS,
    lambda inner: some.lists(inner, max_size=3) | some.dictionaries(some.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
_KEYS = (
    *("alert", "metric", "match", "while", "aggregate", "window", "offset", "plus", "minus", "divided_by"),
    *("baseline", "above", "equal", "is_nan", "absent", "for", "keep_firing_for", "severity", "labels"),
    *("annotations", "suggests", "other"),
)


@given(policy=some.dictionaries(some.sampled_from(_KEYS), _VALUES))
def test_no_policy_is_anything_but_rules_or_faults(
    tmp_path_factory: pytest.TempPathFactory, policy: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(json.dumps({"policies": [policy]}), "utf-8")
    try:
        made = len(read_rules([path], known_knobs=KNOBS))
    except PolicyError as error:
        made = str(error).count("\n") + 2 - len(error.faults)
    assert made == 1


@given(text=some.text())
def test_no_text_is_anything_but_rules_or_faults(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(PolicyError):
        read_rules([path], known_knobs=KNOBS)
