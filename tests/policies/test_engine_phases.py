"""What a rule with ``while`` sees of a run that pauses, and for how long it remembers its phase."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from tests.policies.engine_bench import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    OTHER,
    Bench,
    brief,
    histogram,
    only,
    rule,
    run_info,
    sample,
)

from flyball.collectors.base import Sample
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Arithmetic, Comparison, Operand, Rule

LOW = {"comparison": Comparison.BELOW, "threshold": 0.7, "phase": "stepping"}


def mean(within: float, *, window: float = 10.0, wait: float = 0.0) -> Rule:
    """One on the mean of a window that is low."""
    return rule(aggregate=Aggregate.AVG, window=window, within_seconds=within, for_seconds=wait, **LOW)


def life(*parts: tuple[str, int, float]) -> Iterator[list[Sample]]:
    """Readings of a run, one a second: its phase, for how many seconds, and what the series stands at."""
    for phase, seconds, value in parts:
        for _ in range(seconds):
            yield [sample(GAUGE, value), *([run_info(phase)] if phase else [])]


def told(subject: Rule, readings: Iterator[list[Sample]]) -> list[tuple[float, str]]:
    bench = Bench(Engine([subject]))
    for samples in readings:
        bench.read(samples)
        bench.now += 1
    return bench.log


class TestSamplesOfAPause:
    def test_do_not_count(self) -> None:
        cycle = [("stepping", 5, 0.9), ("checkpointing", 5, 0.0)] * 20
        assert told(mean(0.0), life(*cycle)) == []
        assert told(mean(10.0), life(*cycle)) == []

    def test_do_not_hide_what_is_low_either(self) -> None:
        cycle = [("stepping", 5, 0.5), ("checkpointing", 5, 1.0)] * 20
        assert told(mean(10.0, wait=60.0), life(*cycle)) == [(0.0, "pending"), (60.0, "firing")]

    def test_are_of_no_partner(self) -> None:
        right = Operand(metric=OTHER, aggregate=Aggregate.MAX, window_seconds=10.0)
        subject = mean(10.0)
        both = replace(subject.expression, arithmetic=Arithmetic.DIVIDED_BY, right=right)
        bench = Bench(Engine([replace(subject, expression=both)]))
        for phase, other in [("stepping", 1.0)] * 5 + [("evaluating", 9.0)] * 5:
            bench.read([sample(GAUGE, 0.9), sample(OTHER, other), run_info(phase)])
            bench.now += 1
        assert bench.log == []

    def test_do_not_begin_a_counters_increase(self) -> None:
        bench = Bench(
            Engine(
                [rule(COUNTER, Aggregate.INCREASE, 60.0, threshold=0.0, phase="stepping", within_seconds=60)]
            )
        )
        for phase, count in [("starting", 0.0)] * 3 + [("starting", 5.0)] * 3 + [("stepping", 5.0)] * 9:
            bench.read([sample(COUNTER, count), run_info(phase)])
            bench.now += 1
        assert bench.log == []


class TestMemory:
    @pytest.mark.parametrize("seconds", [1, 5, 10])
    def test_bridges_a_pause_that_is_no_longer(self, seconds: int) -> None:
        cycle = [("stepping", 3, 0.5), ("evaluating", seconds, 1.0)] * 9
        assert told(mean(10.0), life(*cycle)) == [(0.0, "firing")]

    def test_of_none_ends_with_the_phase(self) -> None:
        run = life(("stepping", 3, 0.5), ("evaluating", 3, 0.5), ("stepping", 1, 0.5))
        assert told(mean(0.0), run) == [(0.0, "firing"), (3.0, "resolved"), (6.0, "firing")]

    @pytest.mark.parametrize("window", [3.0, 10.0, 30.0])
    def test_ends_so_long_after_the_phase_whatever_the_window(self, window: float) -> None:
        run = life(("stepping", 5, 0.5), ("evaluating", 40, 0.5))
        assert told(mean(10.0, window=window), run) == [(0.0, "firing"), (15.0, "resolved")]

    def test_of_the_last_value_keeps_that_of_the_phase(self) -> None:
        subject = rule(within_seconds=5.0, **LOW)
        run = life(("stepping", 5, 0.5), ("evaluating", 9, 1.0))
        assert told(subject, run) == [(0.0, "firing"), (10.0, "resolved")]

    def test_reaches_back_where_the_window_observed_nothing(self) -> None:
        subject = rule(HISTOGRAM, Aggregate.AVG, 5.0, threshold=0.4, phase="stepping", within_seconds=20.0)
        bench = Bench(Engine([subject]))
        counts = [*range(1, 6), *[5] * 3]
        for count in counts:
            bench.read([sample(HISTOGRAM, histogram(0, count, 0, 0, total=count / 2)), run_info("stepping")])
            bench.now += 1
        for _ in range(10):
            bench.read([sample(HISTOGRAM, histogram(0, 5, 0, 0, total=2.5)), run_info("evaluating")])
            bench.now += 1
        assert bench.log == [(1.0, "firing")]
        assert only(bench.engine).value == 0.5


class TestNothingIsRemembered:
    @pytest.mark.parametrize("phase", ["finished", "starting", ""])
    def test_of_a_run_that_is_over(self, phase: str) -> None:
        run = life(("stepping", 5, 0.5), (phase, 5, 0.0))
        assert told(mean(10.0), run) == [(0.0, "firing"), (5.0, "resolved")]

    def test_of_a_series_that_is_gone(self) -> None:
        bench = Bench(Engine([mean(10.0)]))
        bench.read([sample(GAUGE, 0.5), run_info("stepping")])
        bench.now += 1
        assert brief(bench.read([run_info("evaluating")])) == [("0", "resolved")]

    @pytest.mark.parametrize("phase", ["starting", "evaluating", "finished"])
    def test_of_a_run_that_never_was_in_the_phase(self, phase: str) -> None:
        assert told(mean(10.0), life((phase, 30, 0.0))) == []

    def test_of_a_gpu_that_idles(self) -> None:
        assert told(mean(10.0), life(("", 30, 0.0))) == []


class TestALongEvaluation:
    def test_raises_nothing_on_its_own(self) -> None:
        run = life(("stepping", 60, 0.9), ("evaluating", 600, 0.0), ("stepping", 60, 0.9))
        assert told(mean(120.0, window=120.0), run) == []

    def test_ends_what_waited_once_it_is_longer_than_the_memory(self) -> None:
        run = life(("stepping", 60, 0.5), ("evaluating", 600, 0.0), ("stepping", 301, 0.5))
        assert told(mean(120.0, window=120.0, wait=300.0), run) == [
            (0.0, "pending"),
            (180.0, "dropped"),
            (660.0, "pending"),
            (960.0, "firing"),
        ]


class TestChanges:
    def test_records_outlive_a_reload(self) -> None:
        bench = Bench(Engine([mean(10.0, wait=5.0)]))
        for samples in life(("stepping", 3, 0.5)):
            bench.read(samples)
            bench.now += 1
        bench.engine.change([rule(alert="First"), mean(10.0, wait=5.0)], bench.now)
        for samples in life(("checkpointing", 3, 0.9)):
            bench.read(samples)
            bench.now += 1
        assert [status for _, status in bench.log if status == "firing"] == ["firing", "firing"]
        assert {alert.rule for alert in bench.engine.active()} == {"First", "Load"}

    def test_how_long_it_is_remembered_may_change_while_it_fires(self) -> None:
        bench = Bench(Engine([mean(10.0)]))
        for samples in life(("stepping", 3, 0.5), ("evaluating", 3, 0.0)):
            bench.read(samples)
            bench.now += 1
        assert bench.engine.change([mean(60.0)], bench.now) == ()
        for samples in life(("evaluating", 40, 0.0)):
            bench.read(samples)
            bench.now += 1
        assert bench.log == [(0.0, "firing")]

    def test_a_phase_that_is_asked_for_later_is_recorded_from_then_on(self) -> None:
        bench = Bench(Engine([rule(aggregate=Aggregate.AVG, window=60.0, threshold=9.0)]))
        for samples in life(("stepping", 5, 0.9)):
            bench.read(samples)
            bench.now += 1
        bench.engine.change([mean(10.0)], bench.now)
        for samples in life(("stepping", 2, 0.5)):
            bench.read(samples)
            bench.now += 1
        assert bench.log == [(5.0, "firing")]

    @pytest.mark.parametrize(
        ("after", "log"),
        [
            ([("evaluating", 30, 1.0)], [(10.0, "resolved")]),
            ([("evaluating", 5, 1.0), ("stepping", 30, 0.5)], []),
            ([("finished", 30, 1.0)], [(10.0, "resolved")]),
        ],
    )
    def test_after_a_restart_an_alert_stands_as_long_as_the_phase_may_be_remembered(
        self, after: Sequence[tuple[str, int, float]], log: list[tuple[float, str]]
    ) -> None:
        subject = mean(10.0)
        first = Bench(Engine([subject]))
        first.read([sample(GAUGE, 0.5), run_info("stepping")])
        bench = Bench(Engine([subject]))
        bench.engine.restore(first.engine.active(), now=bench.now, down_seconds=1.0)
        for samples in life(*after):
            bench.read(samples)
            bench.now += 1
        assert bench.log == log
