"""Few series of a rule are looked at one by one first; that must not change what is found."""

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policies.engine_bench import COUNTER, GAUGE, HISTOGRAM, OTHER, Value, histogram, sample

from flyball.collectors.base import Kind, Metric, Sample
from flyball.policies.engine import Engine
from flyball.policies.operands import AGGREGATES
from flyball.policies.rule import Aggregate, Arithmetic, Comparison, Expression, Operand, Rule

MANY = 12
NUMBERS = [0.0, -0.0, 0.1, 0.3, 1.0, 1.0 + 2**-52, 3.0, 1e-160, 1e300, -2.0, math.inf, -math.inf, math.nan]

numbers = st.sampled_from(NUMBERS) | st.floats(0, 4)
counts = st.sampled_from([0.0, 1.0, 1.0, 1.0, 2.0, 5.0, 5.0, 9.0])
observed = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 1))


def values(metric: Metric) -> st.SearchStrategy[Value]:
    if metric.kind is Kind.HISTOGRAM:
        return observed.map(lambda each: histogram(*each, total=float(sum(each)) / 3))
    return counts if metric.kind is Kind.COUNTER else numbers


@st.composite
def operands(draw: st.DrawFn, metric: Metric) -> Operand:
    aggregate = draw(st.sampled_from(AGGREGATES[metric.kind]))
    window = 0.0 if aggregate is Aggregate.LAST else draw(st.sampled_from([2.0, 3.0, 5.0, 30.0]))
    offset = draw(st.sampled_from([0.0, 0.0, 2.0]))
    return Operand(metric=metric, aggregate=aggregate, window_seconds=window, offset_seconds=offset)


@st.composite
def expressions(draw: st.DrawFn) -> Expression:
    left = draw(st.sampled_from([GAUGE, COUNTER, HISTOGRAM]).flatmap(operands))
    arithmetic = draw(st.none() | st.sampled_from(Arithmetic))
    right = draw(operands(left.metric if draw(st.booleans()) else OTHER)) if arithmetic else None
    return Expression(left=left, arithmetic=arithmetic, right=right)


@st.composite
def played(draw: st.DrawFn) -> tuple[Expression, list[list[Sample]]]:
    """What is looked at, and readings of it; some lack a series."""
    expression = draw(expressions())
    metrics = {each.metric for each in (expression.left, expression.right) if each}
    ordered = sorted(metrics, key=lambda each: each.name)
    seldom = st.integers(0, 9).map(lambda each: each == 0)
    length = draw(st.integers(2, 9))
    return expression, [
        [sample(each, draw(values(each)), ("r", "0")) for each in ordered if not draw(seldom)]
        for _ in range(length)
    ]


def near(expression: Expression, readings: list[list[Sample]]) -> list[float]:
    """Thresholds at and beside values that the expression has."""
    any_value = Rule(alert="Any", expression=expression, comparison=Comparison.NOT_EQUAL, threshold=123.0)
    found = {float(value) for _, _, _, value in told([any_value], readings, ranks=MANY)}
    usual = sorted(filter(math.isfinite, found))[:: max(1, len(found) // 3)][:3]
    return [0.0, *(each * factor for each in usual for factor in (0.99, 1.0, 1.01))][:8]


def told(rules: list[Rule], readings: list[list[Sample]], *, ranks: int) -> list[tuple[Any, ...]]:
    """What is active of rank 0 after each reading, where each rank reads the same."""
    engine, found = Engine(rules), []
    for second, reading in enumerate(readings):
        now = 1000.0 + second
        copies = [sample(each.metric, each.value, ("r", str(n))) for each in reading for n in range(ranks)]
        engine.observe("source", now, copies)
        engine.evaluate(now)
        active = [each for each in engine.active() if each.labels["rank"] == "0"]
        found += [(now, each.rule, each.status, str(each.value)) for each in active]
    return found


def compared(expression: Expression, readings: list[list[Sample]]) -> None:
    rules = [
        Rule(alert=f"{comparison} {limit}", expression=expression, comparison=comparison, threshold=limit)
        for comparison in Comparison
        for limit in near(expression, readings)
    ]
    assert told(rules, readings, ranks=1) == told(rules, readings, ranks=MANY)


@settings(max_examples=60)
@given(played())
def test_an_alert_does_not_depend_on_how_many_other_series_there_are(
    case: tuple[Expression, list[list[Sample]]],
) -> None:
    compared(*case)


@pytest.mark.parametrize(
    ("metric", "aggregate", "counted"),
    [
        pytest.param(COUNTER, Aggregate.INCREASE, [100.0, 110.0, 120.0], id="stretched by half an interval"),
        pytest.param(COUNTER, Aggregate.INCREASE, [100.0, 110.0, None, None, 130.0], id="a gap"),
        pytest.param(COUNTER, Aggregate.RATE, [2.0, 10.0, 20.0], id="no further back than zero"),
        pytest.param(COUNTER, Aggregate.RATE, [100.0, 110.0, 5.0, 15.0], id="a reset"),
        pytest.param(COUNTER, Aggregate.INCREASE, [5.0, 5.0, 5.0], id="it never rose"),
        pytest.param(GAUGE, Aggregate.AVG, [0.1, 0.1, 0.1, 0.1], id="a mean beside its threshold"),
        pytest.param(GAUGE, Aggregate.AVG, [1.0, None, 3.0], id="a mean with a gap"),
    ],
)
def test_nor_here(metric: Metric, aggregate: Aggregate, counted: list[float | None]) -> None:
    expression = Expression(left=Operand(metric=metric, aggregate=aggregate, window_seconds=10.0))
    compared(expression, [[sample(metric, each, ("r", "0"))] if each is not None else [] for each in counted])
