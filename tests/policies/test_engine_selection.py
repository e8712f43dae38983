"""Which series a rule sees: matchers, phases, and series that are absent."""

import pytest
from tests.policies.engine_bench import (
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
    values,
)

from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Comparison, Match, Matcher

ON_GPU = Metric(name="hot_celsius", kind=Kind.GAUGE, unit="celsius", help="", labels=("gpu", "uuid"))
OF_RUN = Metric(name="queue", kind=Kind.GAUGE, unit="", help="", labels=("run",))
RANKS = ("0", "1", "10", "")


@pytest.mark.parametrize(
    ("match", "value", "expected"),
    [
        (Match.EQUAL, "1", {"1"}),
        (Match.EQUAL, "", {""}),
        (Match.NOT_EQUAL, "1", {"0", "10", ""}),
        (Match.REGEX, "1", {"1"}),
        (Match.REGEX, "1.*", {"1", "10"}),
        (Match.REGEX, "0|1", {"0", "1"}),
        (Match.REGEX, ".*", {"0", "1", "10", ""}),
        (Match.NOT_REGEX, "1.*", {"0", ""}),
        (Match.NOT_REGEX, ".+", {""}),
    ],
)
def test_matchers_match_the_whole_value(match: Match, value: str, expected: set[str]) -> None:
    engine = Engine([rule(matchers=[Matcher(label="rank", match=match, value=value)])])
    Bench(engine).read([sample(GAUGE, 1.0, ("r", rank)) for rank in RANKS])
    assert set(values(engine)) == expected


def test_all_matchers_must_match() -> None:
    matchers = [
        Matcher(label="run", match=Match.EQUAL, value="r"),
        Matcher(label="rank", match=Match.NOT_EQUAL, value="0"),
        Matcher(label="rank", match=Match.EQUAL, value="1"),
    ]
    engine = Engine([rule(matchers=matchers)])
    given = [("r", "0"), ("r", "1"), ("s", "1"), ("r", "2")]
    Bench(engine).read([sample(GAUGE, 1.0, labels) for labels in given])
    assert set(values(engine)) == {"1"}


class TestWhile:
    def test_a_rank_is_joined_by_run_and_rank(self) -> None:
        bench = Bench(Engine([rule(phase="stepping")]))
        phases = [run_info("stepping", rank="0"), run_info("evaluating", rank="1")]
        given = [sample(GAUGE, 1.0, ("r", rank)) for rank in ("0", "1", "2")]
        assert brief(bench.read(phases + given)) == [("0", "firing")]
        bench.now += 1
        assert brief(bench.read([run_info("stepping", rank="1"), *given])) == [
            ("1", "firing"),
            ("0", "resolved"),
        ]

    def test_a_gpu_is_joined_by_its_uuid(self) -> None:
        bench = Bench(Engine([rule(ON_GPU, phase="stepping")]))
        given = [sample(ON_GPU, 90.0, ("0", "u-0")), sample(ON_GPU, 90.0, ("1", "u-1"))]
        bench.read([run_info("stepping", uuid="u-1"), *given])
        assert [alert.labels["uuid"] for alert in bench.engine.active()] == ["u-1"]

    def test_a_run_is_joined_where_any_of_its_ranks_is_in_the_phase(self) -> None:
        bench = Bench(Engine([rule(OF_RUN, phase="stepping")]))
        phases = [run_info("evaluating", rank="0"), run_info("stepping", rank="1")]
        bench.read([*phases, sample(OF_RUN, 1.0, ("r",)), sample(OF_RUN, 1.0, ("s",))])
        assert [alert.labels["run"] for alert in bench.engine.active()] == ["r"]

    def test_another_source_may_know_the_phase(self) -> None:
        bench = Bench(Engine([rule(phase="stepping", for_seconds=1.0)]))
        bench.read([sample(GAUGE, 1.0)], "values")
        bench.now += 1
        bench.read([run_info("stepping")], "phases")
        assert bench.log == [(1.0, "pending")]


class TestAbsent:
    def test_it_alerts_while_nothing_is_selected_and_carries_what_was_asked_for(self) -> None:
        matchers = [
            Matcher(label="run", match=Match.EQUAL, value="r"),
            Matcher(label="rank", match=Match.REGEX, value="0|1"),
        ]
        bench = Bench(Engine([rule(absent=True, matchers=matchers)]))
        (fired,) = bench.evaluate()
        assert fired.alert.labels == {"run": "r", "severity": "warning", "alertname": "Load"}
        assert fired.alert.value == 1.0
        bench.play([1.0, 1.0, None])
        assert [status for _, status in bench.log] == ["firing", "resolved", "firing"]

    def test_a_label_matched_twice_is_not_known(self) -> None:
        twice = [Matcher(label="run", match=match, value="r") for match in (Match.EQUAL, Match.NOT_EQUAL)]
        bench = Bench(Engine([rule(absent=True, matchers=twice)]))
        (fired,) = bench.evaluate()
        assert "run" not in fired.alert.labels

    @pytest.mark.parametrize("metric", [GAUGE, HISTOGRAM], ids=["gauge", "histogram"])
    def test_with_a_window_it_waits_for_the_last_sample_to_leave_it(self, metric: Metric) -> None:
        value = Distribution(counts=(1, 0, 0, 0), sum=0.1) if metric is HISTOGRAM else 1.0
        aggregate = Aggregate.RATE if metric is HISTOGRAM else Aggregate.AVG
        bench = Bench(Engine([rule(metric, aggregate, 2.0, absent=True)]))
        bench.play([value, None, None, None, None], metric)
        assert bench.log == [(3.0, "firing")]

    def test_it_may_be_asked_during_a_phase_alone(self) -> None:
        matchers = [Matcher(label="run", match=Match.EQUAL, value="r")]
        bench = Bench(Engine([rule(OF_RUN, absent=True, matchers=matchers, phase="stepping")]))
        assert bench.read([run_info("starting")]) == ()
        bench.now += 1
        assert [each.alert.status.value for each in bench.read([run_info("stepping")])] == ["firing"]


def test_nothing_is_kept_of_what_no_rule_selects() -> None:
    engine = Engine([rule(matchers=[Matcher(label="run", match=Match.EQUAL, value="r")])])
    Bench(engine).read([sample(GAUGE, 1.0, ("s", "0")), sample(OF_RUN, 1.0, ("r",)), run_info("stepping")])
    assert (engine.series, engine.sample_bytes) == (0, 0)


def test_a_rule_without_a_match_says_nothing() -> None:
    engine = Engine([rule(comparison=Comparison.BELOW, threshold=5.0)])
    assert Bench(engine).evaluate() == ()


class TestReadingsOfTheSameSeries:
    """What was learned of one reading must not be taken for the next one's where it differs."""

    ORDERS = ("0", "1", "2")

    def bench(self) -> Bench:
        bench = Bench(Engine([rule(), rule(HISTOGRAM, Aggregate.INCREASE, 10.0, alert="Waits")]))
        for _ in range(2):
            self.read(bench, [sample(GAUGE, float(rank), ("r", rank)) for rank in self.ORDERS])
        return bench

    def read(self, bench: Bench, given: list[Sample]) -> dict[str, float]:
        bench.read([sample(OTHER, 5.0), *given])
        bench.now += 1
        return dict(values(bench.engine))

    def test_another_order_gives_each_its_own_value(self) -> None:
        given = [sample(GAUGE, float(rank) + 10, ("r", rank)) for rank in reversed(self.ORDERS)]
        assert self.read(self.bench(), given) == {"0": 10.0, "1": 11.0, "2": 12.0}

    def test_one_that_is_missing_or_not_available_is_gone(self) -> None:
        bench = self.bench()
        gone = Unavailable(reason="not_supported")
        given = [sample(GAUGE, gone if rank == "1" else 1.0, ("r", rank)) for rank in self.ORDERS]
        assert set(self.read(bench, given)) == {"0", "2"}
        assert set(self.read(bench, [sample(GAUGE, 1.0, ("r", "2"))])) == {"2"}
        assert set(self.read(bench, [sample(GAUGE, 1.0, ("r", rank)) for rank in self.ORDERS])) == {
            *self.ORDERS
        }

    def test_whole_numbers_count_as_any_other(self) -> None:
        assert self.read(
            self.bench(), [sample(GAUGE, 7, ("r", rank)) for rank in self.ORDERS]
        ) == dict.fromkeys(self.ORDERS, 7.0)

    def test_minus_zero_after_zero_is_minus_zero(self) -> None:
        bench = self.bench()
        self.read(bench, [sample(GAUGE, 0.0, ("r", rank)) for rank in self.ORDERS])
        found = self.read(bench, [sample(GAUGE, -0.0, ("r", rank)) for rank in self.ORDERS])
        assert set(map(str, found.values())) == {"-0.0"}

    def test_a_histogram_with_other_buckets_is_no_sample_of_its_series(self) -> None:
        engine = Engine([rule(HISTOGRAM, Aggregate.INCREASE, 10.0)])
        bench = Bench(engine)
        wrong = Distribution(counts=(1, 1), sum=1.0)
        for given in (wrong, wrong, histogram(0, 0, 0, 0), histogram(0, 0, 0, 0)):
            bench.read([sample(HISTOGRAM, given)])
            bench.now += 1
        bench.read([sample(HISTOGRAM, histogram(3, 0, 0, 0, total=0.1))])
        assert only(engine).value > 0
        bench.now += 1
        bench.read([sample(HISTOGRAM, wrong)])
        assert values(engine) == {}

    def test_other_rules_see_the_series_that_none_looked_at(self) -> None:
        bench = self.bench()
        bench.engine.change([rule(OTHER)], bench.now)
        assert self.read(bench, [sample(GAUGE, 1.0, ("r", rank)) for rank in self.ORDERS]) == {"0": 5.0}

    def test_a_series_that_two_sources_give_goes_on_with_the_other(self) -> None:
        bench = Bench(Engine([rule()]))
        for _ in range(2):
            for source, value in (("first", 1.0), ("second", 2.0)):
                bench.read([sample(GAUGE, value)], source)
                bench.now += 1
        assert values(bench.engine) == {"0": 1.0}
        bench.read([], "first")
        bench.now += 1
        bench.read([sample(GAUGE, 2.0)], "second")
        assert values(bench.engine) == {"0": 2.0}
