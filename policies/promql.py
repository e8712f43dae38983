"""A rule's condition in PromQL (https://prometheus.io/docs/prometheus/latest/querying/basics/).

What a rule means and PromQL does not say by itself is spelled out: a series counts only while it has a
current sample. A rule with ``while`` looks at records, which hold the samples of its phase alone; the rules
that record them come before it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from flyball.collectors.base import Kind, Metric
from flyball.collectors.catalog import RUN_INFO
from flyball.policies.in_phase import is_recorded, recorded_name
from flyball.policies.phases import UNDER_WAY, join_labels
from flyball.policies.rule import (
    QUANTILES,
    Aggregate,
    Arithmetic,
    Comparison,
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
        absent = _absent(left)
        return f"{absent} and {_info(left.metric, (rule.phase,))}" if rule.phase else absent
    return " and ".join((_compared(rule), *_conditions(rule, left)))


def recordings(rule: Rule) -> Mapping[str, str]:
    """Return what must be recorded for a rule: by the name of the record, its expression."""
    if not is_recorded(rule):
        return {}
    operands = (rule.expression.left, rule.expression.right)
    names = ((each.metric, name) for each in operands if each for name in _parts(each))
    return {
        recorded_name(rule.phase, name): f"{name} and {_info(metric, (rule.phase,))}"
        for metric, name in names
    }


def _conditions(rule: Rule, left: Operand) -> Iterator[str]:
    if not rule.phase:
        if _needs_current(left):
            yield _selector(left, _current_name(left.metric))
        return
    record = _selector(left, recorded_name(rule.phase, _current_name(left.metric)))
    if not rule.within_seconds:
        if _needs_current(left):
            yield record
        return
    if left.offset_seconds or left.window_seconds > rule.within_seconds:
        yield f"last_over_time({record}[{duration(rule.within_seconds)}])"
    yield _selector(left, _current_name(left.metric))
    yield _info(left.metric, UNDER_WAY)


def _info(metric: Metric, phases: Sequence[str]) -> str:
    match = f"={quoted(phases[0])}" if len(phases) == 1 else f"=~{quoted('|'.join(phases))}"
    return f"on ({', '.join(join_labels(metric))}) {RUN_INFO.full_name}{{phase{match}}}"


def _parts(operand: Operand) -> Iterator[str]:
    """The series that an operand takes; of a histogram the count as well, by which it is current."""
    name = operand.metric.full_name
    if operand.metric.kind is not Kind.HISTOGRAM:
        yield name
        return
    if operand.aggregate in QUANTILES:
        yield f"{name}_bucket"
    if operand.aggregate is Aggregate.AVG:
        yield f"{name}_sum"
    yield f"{name}_count"


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
    if float(value).is_integer() and abs(value) < 2**53:
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
    value = _value(rule)
    if rule.comparison is Comparison.NAN:
        return f"{value} != {value}"
    return f"{value} {_COMPARISONS[rule.comparison]} {number(rule.threshold)}"


def _value(rule: Rule) -> str:
    expression = rule.expression
    if expression.arithmetic is None or expression.right is None:
        return _operand(expression.left, rule)
    operands = (_operand(expression.left, rule, inner=True), _operand(expression.right, rule, inner=True))
    return f" {_OPERATORS[expression.arithmetic]} ".join(operands)


def _operand(operand: Operand, rule: Rule, *, inner: bool = False) -> str:
    if not rule.phase:
        return _aggregated(operand, operand.metric.full_name, inner=inner)
    name, within = recorded_name(rule.phase, operand.metric.full_name), rule.within_seconds
    if within <= operand.window_seconds:
        return _aggregated(operand, name, inner=inner)
    further = replace(operand, window_seconds=within)
    if operand.aggregate is Aggregate.LAST:
        return f"last_over_time({_range(further, name)})"
    value = _aggregated(operand, name, inner=False)
    if operand.metric.kind is Kind.HISTOGRAM and operand.aggregate in (Aggregate.AVG, *QUANTILES):
        value += " > -Inf"  # leaves NaN out: nothing was observed
    return f"({value} or {_aggregated(further, name, inner=False)})"


def _aggregated(operand: Operand, name: str, *, inner: bool) -> str:
    if operand.metric.kind is Kind.HISTOGRAM:
        return _histogram(operand, name, inner=inner)
    if operand.aggregate is Aggregate.LAST:
        return _selector(operand, name) + _offset(operand)
    if operand.aggregate in QUANTILES:
        quantile = number(QUANTILES[operand.aggregate])
        return f"quantile_over_time({quantile}, {_range(operand, name)})"
    return f"{_OVER_TIME[operand.aggregate]}({_range(operand, name)})"


def _histogram(operand: Operand, name: str, *, inner: bool) -> str:
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


def _range(operand: Operand, name: str) -> str:
    return f"{_selector(operand, name)}[{duration(operand.window_seconds)}]{_offset(operand)}"


def _offset(operand: Operand) -> str:
    return f" offset {duration(operand.offset_seconds)}" if operand.offset_seconds else ""


def _selector(operand: Operand, name: str) -> str:
    matchers = ", ".join(_matcher(matcher) for matcher in operand.matchers)
    return f"{name}{{{matchers}}}" if matchers else name


def _matcher(matcher: Matcher) -> str:
    return f"{matcher.label}{Match(matcher.match).value}{quoted(matcher.value)}"
