"""The policies that come with flyball."""

import re
from pathlib import Path

import pytest

from flyball.collectors.nvml_xids import AWAITED, HARDWARE, PROGRAM
from flyball.policies.rule import Aggregate, Matcher, Rule, Severity
from flyball.policies.rule_file import DEFAULT, read_rules
from flyball.policies.template import fill
from flyball.tuners.knobs.registry import BY_NAME

RULES = {rule.alert: rule for rule in read_rules(["default"], known_knobs=BY_NAME)}
DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "policies.md").read_text("utf-8")
REASONS = set(
    re.findall(r"^\| `([a-z_]+)` \|", (DOCS / "adding_a_collector.md").read_text("utf-8"), re.MULTILINE)
)
WITHOUT_DRIVER = {"library_not_found", "driver_not_loaded", "no_gpu"}
ORDINARY = {"gpm_not_supported", "not_supported", "no_permission", "no_cuda_allocator", "no_flight_recorder"}


def matched(rule: Rule, label: str) -> set[str]:
    (matcher,) = [each for each in rule.expression.left.matchers if each.label == label]
    assert isinstance(matcher, Matcher)
    return set(matcher.value.split("|"))


def test_the_name_default_stands_for_the_file() -> None:
    assert tuple(RULES.values()) == read_rules([DEFAULT], known_knobs=BY_NAME)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_says_what_it_means_and_what_to_do(rule: Rule) -> None:
    assert set(rule.annotations) == {"summary", "action"}
    labels = dict.fromkeys(rule.expression.left.metric.labels, "x")
    for text in rule.annotations.values():
        filled = fill(text, labels=labels, value=1.5)
        assert 20 < len(filled) < 200
        assert filled.endswith(".")
        assert "\n" not in filled


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_each_is_documented_with_its_severity(rule: Rule) -> None:
    assert re.search(rf"^\| `{rule.alert}` \| {rule.severity} \| ", PAGE, re.MULTILINE)


def test_no_policy_is_documented_that_does_not_exist() -> None:
    documented = re.findall(r"^\| `(\w+)` \| (?:info|warning|critical) \| ", PAGE, re.MULTILINE)
    assert sorted(documented) == sorted(RULES)


def test_the_seeds_thresholds_are_the_defaults() -> None:
    busy, torn, slow = RULES["SmUtilizationLow"], RULES["FragmentationHigh"], RULES["P2pLatencyHigh"]
    assert (busy.threshold, busy.phase) == (0.7, "stepping")
    assert (torn.threshold, matched(torn, "method")) == (0.3, {"peak"})
    assert (slow.threshold, matched(slow, "size_class")) == (50e-6, {"8KiB"})
    assert matched(slow, "source") == {"in_band", "preflight"}
    assert matched(slow, "backend") == {"nccl"}


def test_xids_are_those_that_are_counted_from_zero() -> None:
    assert matched(RULES["GpuXidCritical"], "xid") == set(HARDWARE)
    assert matched(RULES["GpuXidWarning"], "xid") == set(PROGRAM)
    assert len(set(AWAITED)) == len(AWAITED)


def test_reasons_are_documented_ones_and_none_that_a_healthy_machine_has() -> None:
    reasons = matched(RULES["CollectorDown"], "reason")
    assert reasons <= REASONS
    assert not reasons & (WITHOUT_DRIVER | ORDINARY)


def test_what_is_critical_cannot_wait() -> None:
    critical = {name for name, rule in RULES.items() if rule.severity is Severity.CRITICAL}
    assert {
        "OutOfMemory",
        "RunStalled",
        "LossNan",
        "GpuXidCritical",
        "GpuEccUncorrected",
        "GpuLost",
    } <= critical
    assert "SmUtilizationLow" not in critical


def test_the_alerts_of_the_tuner_name_its_knobs() -> None:
    assert RULES["SmUtilizationLow"].suggests[:2] == ("micro_batch", "compile")
    assert RULES["FragmentationHigh"].suggests[0] == "expandable_segments"
    assert {"reduce_bucket_size", "contiguous_gradients"} <= set(RULES["FragmentationHigh"].suggests)
    assert {"powersgd", "overlap_comm"} <= set(RULES["P2pLatencyRegressed"].suggests)


WINDOWED = {
    name: rule
    for name, rule in RULES.items()
    if rule.phase == "stepping"
    and rule.expression.left.window_seconds
    and rule.expression.left.aggregate not in (Aggregate.RATE, Aggregate.INCREASE)
}


@pytest.mark.parametrize("rule", WINDOWED.values(), ids=WINDOWED)
def test_the_start_of_a_run_has_left_the_window_before_it_fires(rule: Rule) -> None:
    assert rule.for_seconds >= rule.expression.left.window_seconds
