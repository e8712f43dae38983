"""Which series a rule sees: matchers, phases, and series that are absent."""

import pytest
from tests.policies.engine_bench import GAUGE, HISTOGRAM, Bench, brief, rule, run_info, sample, values

from flyball.collectors.base import Distribution, Kind, Metric
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
