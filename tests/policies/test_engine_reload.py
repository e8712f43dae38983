"""Other rules for a running engine."""

from typing import Any

import pytest
from tests.policies.engine_bench import COUNTER, GAUGE, HISTOGRAM, Bench, only, rule, sample, values
from tests.policies.test_engine_values import histogram

from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Comparison, Match, Matcher, Rule, Severity


def high(threshold: float = 5.0, **rest: Any) -> Rule:
    return rule(comparison=Comparison.ABOVE, threshold=threshold, **rest)


def statuses(bench: Bench, *rules: Rule) -> list[str]:
    return [each.alert.status.value for each in bench.engine.change(rules, bench.now)]


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param({"for_seconds": 500.0}, id="for"),
        pytest.param({"keep_firing_for_seconds": 9.0}, id="keep_firing_for"),
        pytest.param({"annotations": {"summary": "other"}}, id="annotations"),
        pytest.param({"suggests": ("compile",)}, id="suggests"),
        pytest.param({"place": "other.yaml:7"}, id="place"),
    ],
)
def test_a_rule_of_the_same_meaning_keeps_its_alerts(changed: dict[str, Any]) -> None:
    bench = Bench(Engine([high()]))
    bench.play([9.0])
    assert statuses(bench, high(**changed)) == []
    assert bench.play([9.0, 9.0]) == []
    assert only(bench.engine).annotations == changed.get("annotations", {})


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(high(6.0), id="threshold"),
        pytest.param(high(severity=Severity.CRITICAL), id="severity"),
        pytest.param(high(labels={"team": "a"}), id="labels"),
        pytest.param(high(phase="stepping"), id="phase"),
        pytest.param(high(aggregate=Aggregate.MAX, window=60.0), id="expression"),
        pytest.param(high(alert="Other"), id="name"),
    ],
)
def test_one_of_another_meaning_ends_them(changed: Rule) -> None:
    bench = Bench(Engine([high()]))
    bench.play([9.0])
    (resolved,) = bench.engine.change([changed], bench.now)
    assert (resolved.alert.status.value, resolved.alert.resolved_time) == ("resolved", bench.now)
    assert resolved.alert.labels["severity"] == "warning"


def test_pending_ones_are_dropped() -> None:
    bench = Bench(Engine([high(for_seconds=60.0)]))
    bench.play([9.0])
    assert statuses(bench) == ["dropped"]
    assert bench.engine.active() == ()


def test_rules_may_change_their_order() -> None:
    low = rule(alert="Low", comparison=Comparison.BELOW, threshold=5.0)
    bench = Bench(Engine([high(), low]))
    bench.play([9.0])
    assert statuses(bench, low, high()) == []
    assert bench.play([1.0]) == ["firing", "resolved"]


@pytest.mark.parametrize("longer", [30.0, 3000.0], ids=["shorter", "longer"])
def test_windows_keep_their_samples(longer: float) -> None:
    before = high(aggregate=Aggregate.MAX, window=120.0)
    bench = Bench(Engine([before]))
    bench.play([7.0, *[1.0] * 10])
    assert statuses(bench, before, rule(alert="New", aggregate=Aggregate.MIN, window=longer)) == []
    assert bench.play([1.0]) == ["firing"]
    assert [alert.value for alert in bench.engine.active()] == [7.0, 1.0]


def test_counters_keep_their_resets_and_gaps() -> None:
    before = rule(COUNTER, Aggregate.INCREASE, 5.0)
    bench = Bench(Engine([before]))
    bench.play([100.0, 110.0, None, 5.0, 15.0], COUNTER)
    statuses(bench, before, rule(COUNTER, Aggregate.RATE, 600.0, alert="Longer"))
    bench.play([25.0], COUNTER)
    assert bench.engine.active()[0].value == pytest.approx(35.0)


def test_histograms_keep_their_buckets() -> None:
    before = rule(HISTOGRAM, Aggregate.P50, 10.0)
    bench = Bench(Engine([before]))
    bench.play([histogram(0, 0, 0, 0), histogram(1, 2, 1, 0)], HISTOGRAM)
    statuses(bench, before, rule(HISTOGRAM, Aggregate.P99, 600.0, alert="Longer"))
    bench.play([histogram(1, 2, 1, 0)], HISTOGRAM)
    assert [alert.value for alert in bench.engine.active()] == pytest.approx([0.3, 0.98])


def test_what_no_rule_needs_any_more_is_let_go() -> None:
    bench = Bench(Engine([high(aggregate=Aggregate.MAX, window=120.0)]))
    bench.read([sample(GAUGE, 1.0, ("r", str(rank))) for rank in range(20)])
    statuses(bench, high(matchers=[Matcher(label="rank", match=Match.EQUAL, value="3")]))
    assert bench.engine.series == 1
    bench.now += 1
    bench.read([sample(GAUGE, 9.0, ("r", str(rank))) for rank in range(20)])
    assert values(bench.engine) == {"3": 9.0}


def test_series_that_were_not_needed_before_begin_with_the_next_reading() -> None:
    bench = Bench(Engine([rule(COUNTER)]))
    bench.play([9.0, 9.0])
    statuses(bench, rule(COUNTER), high())
    assert bench.evaluate() == ()
    assert bench.play([9.0]) == ["firing"]


def test_nothing_is_told_twice_over_a_reload_in_the_middle_of_a_restart() -> None:
    subject = high(aggregate=Aggregate.MAX, window=20.0)
    first = Bench(Engine([subject]))
    first.play([9.0])
    bench = Bench(Engine([subject]), now=2000.0)
    bench.engine.restore(first.engine.active(), now=2000.0, down_seconds=10.0)
    bench.play([1.0] * 5)
    assert statuses(bench, rule(alert="First", threshold=1e9), subject) == []
    assert bench.play([1.0] * 30) == ["resolved"]
