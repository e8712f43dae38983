"""One alert from beginning to end."""

from collections.abc import Sequence
from typing import Any

import pytest
from tests.policies.engine_bench import GAUGE, Bench, Value, brief, only, rule, sample

from flyball.history.alert_records import AlertStatus
from flyball.policies.engine import Engine
from flyball.policies.rule import Comparison, Severity

OFF, ON = 0.0, 9.0


def high(**rest: Any) -> Bench:
    return Bench(Engine([rule(comparison=Comparison.ABOVE, threshold=5.0, **rest)]))


@pytest.mark.parametrize(
    ("times", "readings", "log"),
    [
        pytest.param({}, [OFF, ON, ON, OFF], [(1, "firing"), (3, "resolved")], id="at once"),
        pytest.param(
            {"for_seconds": 2.0},
            [ON, ON, ON, ON, OFF],
            [(0, "pending"), (2, "firing"), (4, "resolved")],
            id="after for",
        ),
        pytest.param(
            {"for_seconds": 2.0}, [ON, ON, OFF, OFF], [(0, "pending"), (2, "dropped")], id="ended before for"
        ),
        pytest.param(
            {"for_seconds": 2.0},
            [ON, OFF, ON, ON, ON],
            [(0, "pending"), (1, "dropped"), (2, "pending"), (4, "firing")],
            id="begun anew",
        ),
        pytest.param(
            {"keep_firing_for_seconds": 2.0},
            [ON, OFF, OFF, OFF, OFF],
            [(0, "firing"), (3, "resolved")],
            id="kept firing",
        ),
        pytest.param(
            {"keep_firing_for_seconds": 2.0},
            [ON, OFF, OFF, ON, OFF, OFF, OFF],
            [(0, "firing"), (6, "resolved")],
            id="kept firing until it came back",
        ),
        pytest.param(
            {"for_seconds": 2.0, "keep_firing_for_seconds": 9.0},
            [ON, OFF],
            [(0, "pending"), (1, "dropped")],
            id="a pending one is not kept",
        ),
        pytest.param({}, [ON, None, ON], [(0, "firing"), (1, "resolved"), (2, "firing")], id="series gone"),
        pytest.param(
            {"for_seconds": 0.0005}, [ON, ON], [(0, "firing")], id="for below a millisecond is none"
        ),
    ],
)
def test_timelines(times: dict[str, float], readings: Sequence[Value], log: list[tuple[float, str]]) -> None:
    bench = high(**times)
    bench.play(readings)
    assert bench.log == log


def test_an_alert_carries_its_times_and_its_last_true_value() -> None:
    bench = high(for_seconds=1.0, keep_firing_for_seconds=2.0)
    bench.play([6.0, 7.0, OFF])
    alert = only(bench.engine)
    assert (alert.active_time, alert.fired_time, alert.quiet_time) == (1000.0, 1001.0, 1002.0)
    assert (alert.status, alert.value, alert.resolved_time) == (AlertStatus.FIRING, 7.0, None)
    bench.play([OFF])
    (resolved,) = bench.read([sample(GAUGE, OFF)])
    assert resolved.time == resolved.alert.resolved_time == 1004.0
    assert (resolved.alert.status, resolved.alert.value) == (AlertStatus.RESOLVED, 7.0)
    assert bench.engine.active() == ()


def test_each_series_has_a_state_of_its_own() -> None:
    bench = high()
    bench.read([sample(GAUGE, ON, ("r", "0")), sample(GAUGE, OFF, ("r", "1"))])
    bench.now += 1
    changed = bench.read([sample(GAUGE, OFF, ("r", "0")), sample(GAUGE, ON, ("r", "1"))])
    assert sorted(brief(changed)) == [("0", "resolved"), ("1", "firing")]


def test_labels_are_the_series_then_the_rules_then_the_engines() -> None:
    bench = high(labels={"rank": "", "team": "a"}, severity=Severity.CRITICAL)
    bench.read([sample(GAUGE, ON, ("r", "3"))])
    labels = {"run": "r", "team": "a", "severity": "critical", "alertname": "Load"}
    assert only(bench.engine).labels == labels
    assert only(bench.engine).severity == "critical"


def test_an_empty_label_is_none() -> None:
    bench = high()
    bench.read([sample(GAUGE, ON, ("r", ""))])
    assert "rank" not in only(bench.engine).labels


def test_series_that_a_rules_labels_make_one_are_one_alert() -> None:
    bench = high(labels={"rank": "any"})
    samples = [sample(GAUGE, ON, ("r", "0")), sample(GAUGE, ON, ("r", "1"))]
    assert brief(bench.read(samples)) == [("any", "firing")]
    bench.now += 1
    assert bench.read(samples[1:]) == ()


def test_texts_are_filled_in_with_the_last_true_value() -> None:
    bench = high(annotations={"summary": "{{ labels.run }} at {{ value }}"}, suggests=("micro_batch",))
    (fired,) = bench.read([sample(GAUGE, 6.5)])
    assert fired.alert.annotations == {"summary": "r at 6.5"}
    assert fired.alert.suggests == ("micro_batch",)
    bench.now += 1
    bench.read([sample(GAUGE, 7.5)])
    bench.now += 1
    (resolved,) = bench.read([sample(GAUGE, OFF)])
    assert resolved.alert.annotations == {"summary": "r at 7.5"}


def test_rules_are_told_in_their_order() -> None:
    bench = Bench(Engine([rule(alert=name) for name in ("B", "A", "C")]))
    assert [each.alert.rule for each in bench.read([sample(GAUGE, ON)])] == ["B", "A", "C"]
