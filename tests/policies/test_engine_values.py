"""What a rule makes of its series; every value here was worked out by hand."""

import math
from collections.abc import Sequence

import pytest
from tests.policies.engine_bench import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    OTHER,
    Bench,
    Value,
    only,
    rule,
    sample,
    values,
)

from flyball.collectors.base import Distribution, Metric, Unavailable
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Arithmetic, Comparison, Expression, Operand, Rule

INF, NAN = math.inf, math.nan
A = Aggregate


def histogram(*counts: int, total: float = 0.0) -> Distribution:
    """Observations up to 0.1, 0.5, 1.0 and above."""
    return Distribution(counts=counts, sum=total)


NONE, SOME = histogram(0, 0, 0, 0), histogram(1, 2, 1, 0, total=1.6)
UNUSUAL = Comparison.NOT_EQUAL, 123.0


@pytest.mark.parametrize(
    ("metric", "aggregate", "window", "readings", "expected"),
    [
        pytest.param(GAUGE, A.LAST, 0, [1.0, 2.0], 2.0, id="last"),
        pytest.param(COUNTER, A.LAST, 0, [5.0, 7.0], 7.0, id="last of a counter"),
        pytest.param(GAUGE, A.AVG, 2, [9.0, 1.0, 2.0, 6.0], 3.0, id="both ends of the window belong to it"),
        pytest.param(GAUGE, A.AVG, 9, [4.0, None, 8.0], 6.0, id="a missing sample is not zero"),
        pytest.param(GAUGE, A.AVG, 9, [4.0, Unavailable(reason="x"), 8.0], 6.0, id="nor one unavailable"),
        pytest.param(GAUGE, A.AVG, 9, [4.0, NAN, 8.0], NAN, id="one that is NaN counts"),
        pytest.param(GAUGE, A.MIN, 9, [4.0, NAN, 8.0], 4.0, id="min"),
        pytest.param(GAUGE, A.MAX, 9, [4.0, NAN, 8.0], 8.0, id="max"),
        pytest.param(GAUGE, A.MAX, 9, [NAN, NAN], NAN, id="max of nothing but NaN"),
        pytest.param(GAUGE, A.P50, 9, [1.0, 10.0, 3.0, 2.0], 2.5, id="p50"),
        pytest.param(GAUGE, A.P90, 9, [1.0, 10.0, 3.0, 2.0], 7.9, id="p90"),
        pytest.param(GAUGE, A.P99, 9, [1.0, 10.0], 9.91, id="p99"),
        pytest.param(COUNTER, A.INCREASE, 2, [5.0, 10.0, 15.0], 10.0, id="increase over a full window"),
        pytest.param(COUNTER, A.INCREASE, 10, [100.0, 110.0, 120.0], 25.0, id="half an interval is added"),
        pytest.param(COUNTER, A.RATE, 10, [100.0, 110.0, 120.0], 2.5, id="rate"),
        pytest.param(COUNTER, A.INCREASE, 10, [0.0, 10.0, 20.0], 20.0, id="no further back than zero"),
        pytest.param(COUNTER, A.INCREASE, 3, [100.0, 110.0, 5.0, 15.0], 25.0, id="a reset is no fall"),
        pytest.param(COUNTER, A.INCREASE, 2, [9.0, 3.0, 3.0, 3.0], 0.0, id="a reset before the window"),
        pytest.param(HISTOGRAM, A.RATE, 10, [NONE, SOME], 0.4, id="rate of observations"),
        pytest.param(HISTOGRAM, A.INCREASE, 10, [NONE, SOME], 4.0, id="count of observations"),
        pytest.param(HISTOGRAM, A.AVG, 10, [NONE, SOME], 0.4, id="mean of observations"),
        pytest.param(HISTOGRAM, A.P50, 10, [NONE, SOME], 0.3, id="p50 of observations"),
        pytest.param(HISTOGRAM, A.P99, 10, [NONE, SOME], 0.98, id="p99 of observations"),
        pytest.param(HISTOGRAM, A.P50, 10, [NONE, histogram(4, 0, 0, 0)], 0.05, id="from zero on"),
        pytest.param(HISTOGRAM, A.P50, 10, [NONE, histogram(0, 0, 0, 4)], 1.0, id="above all bounds"),
        pytest.param(HISTOGRAM, A.P50, 10, [SOME, SOME], NAN, id="p50 of no observation"),
        pytest.param(HISTOGRAM, A.AVG, 10, [SOME, SOME], NAN, id="mean of no observation"),
        pytest.param(
            HISTOGRAM, A.INCREASE, 10, [SOME, NONE, SOME], 4.0 * 2.5 / 2, id="histogram that began anew"
        ),
    ],
)
def test_aggregates(
    metric: Metric, aggregate: Aggregate, window: float, readings: Sequence[Value], expected: float
) -> None:
    comparison, threshold = UNUSUAL
    bench = Bench(Engine([rule(metric, aggregate, window, comparison=comparison, threshold=threshold)]))
    bench.play(readings, metric)
    assert only(bench.engine).value == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(
    ("metric", "aggregate", "readings"),
    [
        pytest.param(COUNTER, A.RATE, [1.0], id="rate"),
        pytest.param(COUNTER, A.INCREASE, [1.0, None, None, None, 2.0], id="one is out of the window"),
        pytest.param(HISTOGRAM, A.P50, [SOME], id="histogram"),
    ],
)
def test_one_sample_is_no_rate(metric: Metric, aggregate: Aggregate, readings: Sequence[Value]) -> None:
    bench = Bench(Engine([rule(metric, aggregate, 3.0, comparison=Comparison.NOT_EQUAL, threshold=123.0)]))
    assert bench.play(readings, metric) == []


@pytest.mark.parametrize(
    ("comparison", "threshold", "true_for"),
    [
        (Comparison.ABOVE, 1.0, [2.0, INF]),
        (Comparison.AT_LEAST, 1.0, [1.0, 2.0, INF]),
        (Comparison.BELOW, 1.0, [0.0]),
        (Comparison.AT_MOST, 1.0, [0.0, 1.0]),
        (Comparison.EQUAL, 1.0, [1.0]),
        (Comparison.NOT_EQUAL, 1.0, [0.0, 2.0, INF, NAN]),
        (Comparison.NAN, 0.0, [NAN]),
    ],
)
@pytest.mark.parametrize("aggregate", [A.LAST, A.AVG, A.MAX])
def test_comparisons_are_false_of_nan_but_for_not_equal(
    comparison: Comparison, threshold: float, true_for: list[float], aggregate: Aggregate
) -> None:
    window = 0.0 if aggregate is A.LAST else 5.0
    engine = Engine([rule(GAUGE, aggregate, window, comparison=comparison, threshold=threshold)])
    given = [0.0, 1.0, 2.0, INF, NAN]
    Bench(engine).read([sample(GAUGE, value, ("r", str(rank))) for rank, value in enumerate(given)])
    assert [str(value) for value in values(engine).values()] == [str(value) for value in true_for]


def test_an_average_exactly_at_the_threshold_is_told_from_one_a_digit_off() -> None:
    samples = [0.1, 0.2, 0.3, 0.7, 1.1]
    first = Bench(Engine([rule(GAUGE, A.AVG, 60.0)]))
    first.play(samples)
    exact = only(first.engine).value
    for comparison, threshold, holds in (
        (Comparison.ABOVE, exact, False),
        (Comparison.AT_LEAST, exact, True),
        (Comparison.ABOVE, math.nextafter(exact, -INF), True),
        (Comparison.AT_LEAST, math.nextafter(exact, INF), False),
    ):
        bench = Bench(Engine([rule(GAUGE, A.AVG, 60.0, comparison=comparison, threshold=threshold)]))
        bench.play(samples)
        assert bool(bench.engine.active()) is holds


def two(arithmetic: Arithmetic, right: Operand, left: Operand | None = None) -> Rule:
    mine = left or Operand(metric=GAUGE)
    expression = Expression(left=mine, arithmetic=arithmetic, right=right)
    return Rule(alert="Load", expression=expression, comparison=Comparison.NOT_EQUAL, threshold=123.0)


@pytest.mark.parametrize(
    ("arithmetic", "left", "right", "expected"),
    [
        (Arithmetic.PLUS, 6.0, 2.0, 8.0),
        (Arithmetic.MINUS, 6.0, 2.0, 4.0),
        (Arithmetic.TIMES, 6.0, 2.0, 12.0),
        (Arithmetic.DIVIDED_BY, 6.0, 2.0, 3.0),
        (Arithmetic.DIVIDED_BY, 6.0, 0.0, INF),
        (Arithmetic.DIVIDED_BY, 0.0, 0.0, NAN),
    ],
)
@pytest.mark.parametrize("aggregate", [A.LAST, A.AVG])
def test_arithmetic(
    arithmetic: Arithmetic, left: float, right: float, expected: float, aggregate: Aggregate
) -> None:
    window = 0.0 if aggregate is A.LAST else 5.0
    operands = [
        Operand(metric=metric, aggregate=aggregate, window_seconds=window) for metric in (GAUGE, OTHER)
    ]
    engine = Engine([two(arithmetic, operands[1], operands[0])])
    Bench(engine).read([sample(GAUGE, left), sample(OTHER, right)])
    assert only(engine).value == pytest.approx(expected, nan_ok=True)


def test_operands_are_joined_by_equal_labels_and_may_come_from_two_sources() -> None:
    engine = Engine([two(Arithmetic.MINUS, Operand(metric=OTHER))])
    bench = Bench(engine)
    bench.read([sample(GAUGE, 5.0, ("r", "0")), sample(GAUGE, 7.0, ("r", "1"))], "one")
    assert values(engine) == {}
    bench.now += 1
    bench.read([sample(OTHER, 1.0, ("r", "1")), sample(OTHER, 1.0, ("r", "2"))], "two")
    assert values(engine) == {"1": 6.0}


def test_a_baseline_is_the_same_series_before() -> None:
    recent = Operand(metric=GAUGE, aggregate=A.AVG, window_seconds=1.0)
    before = Operand(metric=GAUGE, aggregate=A.AVG, window_seconds=3.0, offset_seconds=2.0)
    bench = Bench(Engine([two(Arithmetic.DIVIDED_BY, before, recent)]))
    bench.play([1.0, 2.0, 3.0, 2.0, 5.0, 7.0])
    assert only(bench.engine).value == pytest.approx(6.0 / 2.0)


def test_an_offset_looks_back() -> None:
    bench = Bench(Engine([rule(offset=2.0)]))
    bench.play([1.0, 2.0, 3.0, 4.0])
    assert only(bench.engine).value == 2.0
