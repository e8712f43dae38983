"""A rule's condition in PromQL (https://prometheus.io/docs/prometheus/latest/querying/basics/).

What a rule means and PromQL does not say by itself is spelled out: a series counts only while it has a
current sample, and ``while`` looks the phase up in ``run_info``.
"""

import math
from collections.abc import Iterable, Mapping
from decimal import Decimal

from flyball.collectors.base import Kind, Metric
from flyball.collectors.catalog import RUN_INFO
from flyball.policies.phases import join_labels
from flyball.policies.rule import (
    QUANTILES,
    Aggregate,
    Arithmetic,
    Comparison,
    Expression,
    Match,
    Matcher,
    Operand,
    Rule,
)

_COMPARISONS: Mapping[Comparison, str] = {
    Comparison.ABOVE: ">",
    Comparison.AT_LEAST: ">=",
    Comparison.BELOW: "<",
    Comparison.AT_MOST: "<=",
    Comparison.EQUAL: "==",
    Comparison.NOT_EQUAL: "!=",
}
_OPERATORS: Mapping[Arithmetic, str] = {
    Arithmetic.PLUS: "+",
    Arithmetic.MINUS: "-",
    Arithmetic.TIMES: "*",
    Arithmetic.DIVIDED_BY: "/",
}
_OVER_TIME: Mapping[Aggregate, str] = {
    Aggregate.AVG: "avg_over_time",
    Aggregate.MIN: "min_over_time",
    Aggregate.MAX: "max_over_time",
    Aggregate.RATE: "rate",
    Aggregate.INCREASE: "increase",
}
_UNITS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1))
"""Of a duration, in milliseconds."""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def condition(rule: Rule) -> str:
    """Return the expression whose series are the rule's alerts, with the value that they carry."""
    left = rule.expression.left
    if rule.absent:
        return _while(_absent(left), rule.phase, join_labels(left.metric))
    current = f" and {_selector(left, _current_name(left.metric))}" if _needs_current(left) else ""
    return _while(_compared(rule) + current, rule.phase, join_labels(left.metric))


def duration(seconds: float) -> str:
    """Return a duration as Prometheus reads it, to the millisecond, the finest that it knows: ``1h30m``."""
    rest = round(seconds * 1000)
    text = ""
    for unit, length in _UNITS:
        count, rest = divmod(rest, length)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def number(value: float) -> str:
    """Return a number that Prometheus reads back to the same bits."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if value.is_integer() and abs(value) < 2**53:
        return f"{value:.0f}"  # which keeps the sign of zero
    # Plain digits where they are few: 0.00005 is read more easily than 5e-05.
    plain = format(Decimal(repr(value)), "f")
    return plain if len(plain) <= 12 else repr(value)


def quoted(text: str) -> str:
    """Return a string literal of PromQL."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if character.isprintable() else f"\\U{ord(character):08x}"


def _compared(rule: Rule) -> str:
    value = _value(rule.expression)
    if rule.comparison is Comparison.NAN:
        return f"{value} != {value}"
    return f"{value} {_COMPARISONS[rule.comparison]} {number(rule.threshold)}"


def _value(expression: Expression) -> str:
    if expression.arithmetic is None or expression.right is None:
        return _operand(expression.left)
    operands = (_operand(expression.left, inner=True), _operand(expression.right, inner=True))
    return f" {_OPERATORS[expression.arithmetic]} ".join(operands)


def _operand(operand: Operand, *, inner: bool = False) -> str:
    if operand.metric.kind is Kind.HISTOGRAM:
        return _histogram(operand, inner=inner)
    name = operand.metric.full_name
    if operand.aggregate is Aggregate.LAST:
        return _selector(operand, name) + _offset(operand)
    if operand.aggregate in QUANTILES:
        quantile = number(QUANTILES[operand.aggregate])
        return f"quantile_over_time({quantile}, {_range(operand, name)})"
    return f"{_OVER_TIME[operand.aggregate]}({_range(operand, name)})"


def _histogram(operand: Operand, *, inner: bool) -> str:
    name = operand.metric.full_name
    count = _range(operand, f"{name}_count")
    if operand.aggregate in QUANTILES:
        quantile = number(QUANTILES[operand.aggregate])
        return f"histogram_quantile({quantile}, rate({_range(operand, f'{name}_bucket')}))"
    if operand.aggregate is Aggregate.AVG:
        mean = f"rate({_range(operand, f'{name}_sum')}) / rate({count})"
        return f"({mean})" if inner else mean
    return f"{_OVER_TIME[operand.aggregate]}({count})"


def _absent(operand: Operand) -> str:
    name = _current_name(operand.metric)
    if operand.window_seconds:
        return f"absent_over_time({_range(operand, name)})"
    return f"absent({_selector(operand, name)}{_offset(operand)})"


def _needs_current(operand: Operand) -> bool:
    """A window outlives the series by its length, and an offset by as much: the current sample does not."""
    return operand.aggregate is not Aggregate.LAST or operand.offset_seconds > 0


def _current_name(metric: Metric) -> str:
    return f"{metric.full_name}_count" if metric.kind is Kind.HISTOGRAM else metric.full_name


def _while(expression: str, phase: str, key: Iterable[str]) -> str:
    if not phase:
        return expression
    return f"{expression} and on ({', '.join(key)}) {RUN_INFO.full_name}{{phase={quoted(phase)}}}"


def _range(operand: Operand, name: str) -> str:
    return f"{_selector(operand, name)}[{duration(operand.window_seconds)}]{_offset(operand)}"


def _offset(operand: Operand) -> str:
    return f" offset {duration(operand.offset_seconds)}" if operand.offset_seconds else ""


def _selector(operand: Operand, name: str) -> str:
    matchers = ", ".join(_matcher(matcher) for matcher in operand.matchers)
    return f"{name}{{{matchers}}}" if matchers else name


def _matcher(matcher: Matcher) -> str:
    return f"{matcher.label}{Match(matcher.match).value}{quoted(matcher.value)}"
