"""Readings that stop, clocks that jump, and what is let go of."""

from collections.abc import Iterator

import pytest
from tests.policies.engine_bench import COUNTER, GAUGE, Bench, Value, brief, rule, run_info, sample, values

from flyball.collectors.base import Sample
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Comparison
from flyball.policies.rule import Rule as PolicyRule

HIGH = {"comparison": Comparison.ABOVE, "threshold": 5.0}


class TestStale:
    def test_a_series_that_the_next_reading_lacks_is_gone_at_once(self) -> None:
        bench = Bench(Engine([rule(aggregate=Aggregate.AVG, window=60.0)]))
        both = [sample(GAUGE, 1.0, ("r", rank)) for rank in ("0", "1")]
        bench.read(both)
        bench.now += 1
        assert brief(bench.read(both[1:])) == [("0", "resolved")]

    def test_a_source_that_failed_takes_its_series_along_and_no_others(self) -> None:
        bench = Bench(Engine([rule()]))
        bench.read([sample(GAUGE, 1.0, ("r", "0"))], "one")
        bench.read([sample(GAUGE, 1.0, ("r", "1"))], "two")
        bench.now += 1
        bench.engine.stale("one", bench.now)
        assert brief(bench.evaluate()) == [("0", "resolved")]

    def test_a_source_that_was_never_read_has_none(self) -> None:
        bench = Bench(Engine([rule()]))
        bench.engine.stale("never", bench.now)
        assert bench.evaluate() == ()

    def test_it_is_stale_even_by_a_clock_that_went_back(self) -> None:
        bench = Bench(Engine([rule()]))
        bench.read([sample(GAUGE, 1.0)])
        bench.engine.stale("source", bench.now - 500.0)
        bench.now += 1
        assert brief(bench.evaluate()) == [("0", "resolved")]

    def test_a_window_goes_on_over_the_gap_when_it_comes_back(self) -> None:
        bench = Bench(Engine([rule(COUNTER, Aggregate.INCREASE, 4.0)]))
        bench.play([10.0, 20.0, None, None, 40.0], COUNTER)
        assert values(bench.engine) == {"0": 30.0}

    @pytest.mark.parametrize(("silent", "holds"), [(300.0, True), (300.001, False)])
    def test_a_source_that_is_not_read_holds_for_the_lookback(self, silent: float, holds: bool) -> None:
        bench = Bench(Engine([rule()], lookback_seconds=300.0))
        bench.read([sample(GAUGE, 1.0)])
        bench.now += silent
        bench.evaluate()
        assert bool(bench.engine.active()) is holds

    def test_an_offset_sees_what_was_there_until_the_reading_that_lacked_it(self) -> None:
        bench = Bench(Engine([rule(offset=120.0, absent=True)]))
        bench.play([1.0, 1.0, None], step=60.0)
        there = []
        for bench.now in (1180.0, 1200.0, 1220.0, 1239.0, 1240.0):
            bench.evaluate()
            there.append(not bench.engine.active())
        assert there == [True, True, True, True, False]

    def test_the_same_series_of_two_sources_is_the_firsts_while_that_gives_it(self) -> None:
        bench = Bench(Engine([rule()]))
        bench.read([sample(GAUGE, 1.0)], "one")
        bench.now += 1
        bench.read([sample(GAUGE, 2.0)], "two")
        assert values(bench.engine) == {"0": 1.0}
        bench.engine.stale("one", bench.now)
        bench.now += 1
        bench.read([sample(GAUGE, 3.0)], "two")
        assert values(bench.engine) == {"0": 3.0}


def test_a_reading_that_fails_halfway_leaves_nothing_behind() -> None:
    def failing() -> Iterator[Sample]:
        yield sample(GAUGE, 1.0, ("r", "0"))
        raise OSError("gone")

    bench = Bench(Engine([rule()]))
    bench.read([sample(GAUGE, 1.0, ("r", "1"))])
    bench.now += 1
    with pytest.raises(OSError, match="gone"):
        bench.engine.observe("source", bench.now, failing())
    bench.read([sample(GAUGE, 1.0, ("r", "1"))])
    assert values(bench.engine) == {"1": 1.0}


class TestClockJumps:
    def test_readings_from_before_the_last_one_are_left_out(self) -> None:
        bench = Bench(Engine([rule(**HIGH)]))
        bench.read([sample(GAUGE, 9.0)])
        bench.now += 1
        bench.engine.observe("source", bench.now - 1, [sample(GAUGE, 0.0)])
        bench.engine.observe("source", bench.now - 3600, [sample(GAUGE, 0.0)])
        assert bench.evaluate() == ()
        assert values(bench.engine) == {"0": 9.0}

    def test_an_evaluation_before_the_last_one_changes_nothing(self) -> None:
        bench = Bench(Engine([rule(**HIGH, for_seconds=10.0)]))
        bench.play([9.0] * 3)
        assert bench.engine.evaluate(500.0) == ()
        assert [alert.active_time for alert in bench.engine.active()] == [1000.0]

    def test_an_evaluation_twice_at_one_time_tells_nothing_twice(self) -> None:
        bench = Bench(Engine([rule(**HIGH)]))
        assert brief(bench.read([sample(GAUGE, 9.0)])) == [("0", "firing")]
        assert bench.evaluate() == ()

    def test_a_jump_ahead_with_a_reading_neither_fires_nor_resolves_what_is_as_before(self) -> None:
        bench = Bench(Engine([rule(**HIGH)]))
        bench.play([9.0])
        bench.now += 86_400
        assert bench.read([sample(GAUGE, 9.0)]) == ()

    def test_after_a_jump_ahead_without_a_reading_nothing_holds(self) -> None:
        bench = Bench(Engine([rule(**HIGH)]))
        bench.play([9.0])
        bench.now += 86_400
        assert brief(bench.evaluate()) == [("0", "resolved")]

    def test_readings_may_be_ahead_of_the_evaluation(self) -> None:
        bench = Bench(Engine([rule()]))
        for second in range(4):
            bench.engine.observe("source", 1000.0 + second, [sample(GAUGE, float(second))])
        bench.now = 1002.5
        bench.evaluate()
        assert values(bench.engine) == {"0": 2.0}


class TestLettingGo:
    @pytest.mark.parametrize(
        ("subject", "most_lines"),
        [
            pytest.param(rule(), 40, id="the last sample alone"),
            pytest.param(rule(aggregate=Aggregate.AVG, window=60.0), 120, id="a minute"),
            pytest.param(rule(aggregate=Aggregate.AVG, window=30.0, offset=30.0), 120, id="and its offset"),
        ],
    )
    def test_no_more_is_kept_than_the_rules_look_back(self, subject: PolicyRule, most_lines: int) -> None:
        bench = Bench(Engine([subject]))
        bench.play([1.0] * 2000)
        rows = 16
        assert 0 < bench.engine.sample_bytes <= most_lines * rows * 8

    def test_series_that_come_and_go_leave_nothing(self) -> None:
        bench = Bench(Engine([rule(aggregate=Aggregate.AVG, window=30.0, phase="stepping")]))
        most = 0
        for number in range(600):
            run = f"r{number // 5}"
            bench.read([sample(GAUGE, 1.0, (run, "0")), run_info("stepping", run)])
            most = max(most, bench.engine.series)
            bench.now += 1
        assert most <= 30
        bench.engine.stale("source", bench.now)
        bench.evaluate()
        bench.now += 60
        bench.evaluate()
        assert (bench.engine.series, bench.engine.sample_bytes) == (0, 0)

    def test_series_of_a_source_that_is_never_read_again_go_too(self) -> None:
        bench = Bench(Engine([rule()]))
        bench.read([sample(GAUGE, 1.0)])
        bench.now += 311
        bench.evaluate()
        assert bench.engine.series == 0

    @pytest.mark.parametrize("interval", [1.0, 7.0, 61.0])
    def test_a_row_that_is_used_again_knows_nothing_of_the_series_before(self, interval: float) -> None:
        bench = Bench(Engine([rule(aggregate=Aggregate.MAX, window=30.0)]))
        given: list[Value] = [9.0] * 3 + [None] * 60
        bench.play(given, step=interval)
        bench.read([sample(GAUGE, 1.0, ("other", "0"))])
        assert values(bench.engine) == {"0": 1.0}
