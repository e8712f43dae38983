"""What an engine makes of the alerts of its last life."""

from dataclasses import replace

import pytest
from tests.policies.engine_bench import COUNTER, GAUGE, OTHER, Bench, brief, only, rule, run_info, sample

from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Comparison, Rule

OFF, ON = 0.0, 9.0
HIGH = {"comparison": Comparison.ABOVE, "threshold": 5.0}


def recorded(subject: Rule, *, pending: bool = False) -> Alert:
    """An alert of rank 0 that a first life left: active for 4 seconds at 900."""
    bench = Bench(Engine([replace(subject, for_seconds=60.0 if pending else 0.0)]), now=896.0)
    metric = subject.expression.left.metric
    for second in range(5):
        samples = [sample(metric, ON + second), sample(OTHER, 1.0), run_info(subject.phase or "stepping")]
        bench.read(samples)
        bench.now += 1
    return only(bench.engine)


def restarted(subject: Rule, alert: Alert, *, down: float = 100.0) -> Bench:
    bench = Bench(Engine([subject]))
    bench.engine.restore([alert], now=bench.now, down_seconds=down)
    return bench


class TestFiring:
    def test_it_is_not_told_again(self) -> None:
        subject = rule(**HIGH)
        alert = recorded(subject)
        bench = restarted(subject, alert)
        assert bench.play([ON] * 3) == []
        assert only(bench.engine).active_time == alert.active_time == 896.0
        assert only(bench.engine).fired_time == 896.0

    def test_it_resolves_once_when_it_is_over(self) -> None:
        subject = rule(**HIGH)
        bench = restarted(subject, recorded(subject))
        assert bench.play([ON, OFF, OFF]) == ["resolved"]

    def test_without_a_window_the_first_reading_decides(self) -> None:
        subject = rule(**HIGH)
        assert restarted(subject, recorded(subject)).play([OFF]) == ["resolved"]

    def test_nothing_is_decided_before_the_first_reading(self) -> None:
        subject = rule(**HIGH)
        bench = restarted(subject, recorded(subject))
        bench.now += 3600
        assert bench.evaluate() == ()

    def test_it_stands_until_the_window_has_been_read(self) -> None:
        subject = rule(aggregate=Aggregate.AVG, window=10.0, **HIGH)
        bench = restarted(subject, recorded(subject))
        assert bench.play([OFF] * 15) == ["resolved"]
        assert bench.log == [(10.0, "resolved")]

    def test_an_offset_belongs_to_the_window(self) -> None:
        subject = rule(aggregate=Aggregate.AVG, window=10.0, offset=2.0, **HIGH)
        bench = restarted(subject, recorded(subject))
        bench.play([OFF] * 20)
        assert bench.log == [(12.0, "resolved")]

    def test_a_rate_that_has_one_sample_yet_says_nothing(self) -> None:
        subject = rule(COUNTER, Aggregate.RATE, 5.0, comparison=Comparison.ABOVE, threshold=0.5)
        bench = restarted(subject, recorded(subject))
        assert bench.play([20.0, 22.0, 24.0], COUNTER) == []

    @pytest.mark.parametrize(("window", "grace"), [(0.0, 60.0), (90.0, 90.0)])
    def test_a_series_that_does_not_come_back_ends_it(self, window: float, grace: float) -> None:
        aggregate = Aggregate.AVG if window else Aggregate.LAST
        subject = rule(aggregate=aggregate, window=window, **HIGH)
        bench = restarted(subject, recorded(subject))
        bench.play([None] * 100)
        assert bench.log == [(grace, "resolved")]

    def test_a_series_may_take_a_while_to_come_back(self) -> None:
        subject = rule(**HIGH)
        bench = restarted(subject, recorded(subject))
        assert bench.play([None] * 50 + [ON] * 50) == []

    def test_a_run_whose_phase_is_not_known_yet_is_not_out_of_it(self) -> None:
        subject = rule(phase="stepping", **HIGH)
        bench = restarted(subject, recorded(subject))
        assert bench.play([ON] * 10) == []
        assert brief(bench.read([sample(GAUGE, ON), run_info("evaluating")])) == [("0", "resolved")]

    def test_one_that_was_kept_firing_is_kept_for_the_rest_of_the_time(self) -> None:
        subject = rule(keep_firing_for_seconds=200.0, **HIGH)
        quiet = replace(recorded(subject), quiet_time=900.0)
        bench = restarted(subject, quiet)
        bench.play([OFF] * 150)
        assert bench.log == [(100.0, "resolved")]

    def test_one_whose_rule_is_gone_resolves(self) -> None:
        alert = recorded(rule(**HIGH))
        bench = restarted(rule(alert="Other", **HIGH), alert)
        (ended,) = bench.evaluate()
        assert (ended.alert.status, ended.alert.active_time) == (AlertStatus.RESOLVED, 896.0)
        assert ended.alert.labels == alert.labels
        assert bench.evaluate() == ()

    def test_one_of_an_absent_rule_ends_when_there_is_a_series(self) -> None:
        subject = rule(absent=True)
        first = Bench(Engine([subject]))
        first.evaluate()
        bench = restarted(subject, only(first.engine))
        assert bench.play([None, None, 1.0]) == ["resolved"]


class TestPending:
    def test_what_it_has_waited_counts_and_the_time_down_does_not(self) -> None:
        subject = rule(for_seconds=60.0, **HIGH)
        alert = recorded(subject, pending=True)
        bench = restarted(subject, alert, down=100.0)
        bench.play([ON] * 60)
        # It had waited 4 s when the agent went at 900; down until 1000.
        assert bench.log == [(0.0, "dropped"), (0.0, "pending"), (56.0, "firing")]
        assert only(bench.engine).active_time == alert.active_time + 100.0

    def test_the_old_one_is_dropped_under_its_own_name(self) -> None:
        subject = rule(for_seconds=60.0, **HIGH)
        alert = recorded(subject, pending=True)
        dropped, pending = restarted(subject, alert, down=100.0).evaluate()
        assert (dropped.alert.status, dropped.alert.active_time) == (AlertStatus.DROPPED, 896.0)
        assert (pending.alert.status, pending.alert.active_time) == (AlertStatus.PENDING, 996.0)

    def test_without_time_down_nothing_is_told(self) -> None:
        subject = rule(for_seconds=200.0, **HIGH)
        bench = restarted(subject, recorded(subject, pending=True), down=0.0)
        assert bench.play([ON] * 3) == []

    def test_it_is_not_dropped_while_the_window_fills(self) -> None:
        subject = rule(aggregate=Aggregate.MIN, window=10.0, for_seconds=60.0, **HIGH)
        bench = restarted(subject, recorded(subject, pending=True), down=0.0)
        assert bench.play([OFF] * 12) == ["dropped"]
        assert bench.log == [(10.0, "dropped")]

    def test_it_does_not_fire_by_waiting_alone(self) -> None:
        subject = rule(for_seconds=60.0, **HIGH)
        bench = restarted(subject, recorded(subject, pending=True), down=0.0)
        assert bench.play([None] * 70) == ["dropped"]


def test_of_two_of_one_series_the_newer_goes_on() -> None:
    subject = rule(**HIGH)
    newer = recorded(subject)
    bench = Bench(Engine([subject]))
    bench.engine.restore([replace(newer, active_time=1.0), newer], now=bench.now, down_seconds=0.0)
    (ended,) = bench.read([sample(GAUGE, ON)])
    assert (ended.alert.status, ended.alert.active_time) == (AlertStatus.RESOLVED, 1.0)
    assert only(bench.engine).active_time == newer.active_time


def test_ended_alerts_are_not_taken_back() -> None:
    subject = rule(**HIGH)
    ended = replace(recorded(subject), status=AlertStatus.RESOLVED, resolved_time=899.0)
    assert restarted(subject, ended).engine.active() == ()


def test_a_life_goes_on_over_a_second_restart() -> None:
    subject = rule(for_seconds=60.0, **HIGH)
    first = restarted(subject, recorded(subject, pending=True), down=100.0)
    first.play([ON] * 6)
    second = Bench(Engine([subject]), now=2000.0)
    second.engine.restore(first.engine.active(), now=2000.0, down_seconds=995.0)
    second.play([ON] * 60)
    assert [(time + 1000.0, status) for time, status in second.log] == [
        (2000.0, "dropped"),
        (2000.0, "pending"),
        (2051.0, "firing"),
    ]


def test_nan_is_restored_too() -> None:
    subject = rule(comparison=Comparison.NAN)
    first = Bench(Engine([subject]))
    first.read([sample(GAUGE, float("nan"))])
    bench = restarted(subject, only(first.engine))
    assert bench.play([float("nan"), float("nan")]) == []
