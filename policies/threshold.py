"""Reads a threshold, and refuses one that no value can pass or that every value passes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flyball.collectors.base import Kind
from flyball.policies.durations import parse_short_duration
from flyball.policies.rule import Aggregate, Arithmetic, Comparison, Expression, Operand

RATIO, SECONDS = "ratio", "seconds"
_COUNTED = (Aggregate.RATE, Aggregate.INCREASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """What an expression's values can be."""

    subject: str
    unit: str
    least: float
    most: float
    may_be_nan: bool = False


def span_of(expression: Expression) -> Span:
    """Work out an expression's unit and bounds; of arithmetic only whether it can be negative."""
    left, right = _operand_span(expression.left), expression.right
    if expression.arithmetic is None or right is None:
        return left
    other = _operand_span(right)
    least, may_be_nan = -math.inf, left.may_be_nan or other.may_be_nan
    if expression.arithmetic is not Arithmetic.MINUS and min(left.least, other.least) >= 0:
        least = 0.0
    return Span(
        subject="the result",
        unit=_unit(expression.arithmetic, left.unit, other.unit),
        least=least,
        most=math.inf,
        may_be_nan=may_be_nan or expression.arithmetic is Arithmetic.DIVIDED_BY,
    )


def _operand_span(operand: Operand) -> Span:
    metric, aggregate = operand.metric, operand.aggregate
    if aggregate not in _COUNTED:
        least, most = metric.least, metric.most
        # Of what is 0 or 1 an average is the share of the time.
        unit = RATIO if (least, most) == (0, 1) else metric.unit
        return Span(subject=metric.name, unit=unit, least=least, most=most, may_be_nan=not metric.finite)
    is_amount = aggregate is Aggregate.INCREASE and metric.kind is Kind.COUNTER
    unit = metric.unit if is_amount else ""
    return Span(subject=f"the {aggregate} of {metric.name}", unit=unit, least=0.0, most=math.inf)


def _unit(arithmetic: Arithmetic, left: str, right: str) -> str:
    if arithmetic is Arithmetic.DIVIDED_BY:
        return RATIO if left == right else ""
    if arithmetic is Arithmetic.TIMES:
        return left if right == RATIO else right if left == RATIO else ""
    return left if left == right else ""


def read_threshold(value: Any, span: Span) -> float:
    """Return the number that stands for a threshold: a plain one, ``70%`` of a ratio, ``50us`` of seconds.

    Raises:
        ValueError: it is none, as ``what; mend``.
    """
    found = _number(value, span)
    if not math.isfinite(found):
        raise ValueError(f"{found} is no threshold; write a finite number, or is_nan: true")
    return found


def _number(value: Any, span: Span) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    if not isinstance(value, str):
        raise ValueError(f"is no number; {_example(span)}")
    if value.endswith("%") and span.unit == RATIO:
        try:
            return float(f"{value[:-1]}e-2")
        except ValueError:
            pass
    seconds = parse_short_duration(value) if span.unit == SECONDS else None
    if seconds is None:
        raise ValueError(f"'{value[:30]}' is no number; {_example(span)}")
    return seconds


def _example(span: Span) -> str:
    if span.unit == RATIO:
        return "write a number such as 0.7, or 70%"
    if span.unit == SECONDS:
        return "write seconds as in 0.5, or a duration such as 50us"
    return "write a number without quotes and unit"


def check_possible(comparison: Comparison, threshold: float, span: Span) -> None:
    """Refuse a comparison that is never or always true.

    Raises:
        ValueError: as ``what; mend``.
    """
    least, most = span.least, span.most
    never, always = {
        Comparison.ABOVE: (threshold >= most, threshold < least),
        Comparison.AT_LEAST: (threshold > most, threshold <= least),
        Comparison.BELOW: (threshold <= least, threshold > most),
        Comparison.AT_MOST: (threshold < least, threshold >= most),
        Comparison.EQUAL: (not least <= threshold <= most, False),
        Comparison.NOT_EQUAL: (False, not least <= threshold <= most),
        Comparison.NAN: (not span.may_be_nan, False),
    }[comparison]
    if never or always:
        what = f"{_WORDS[comparison]} {_shown(threshold)}" if comparison in _WORDS else "NaN"
        how_often = "never" if never else "always"
        raise ValueError(f"{span.subject} is {how_often} {what}; {_mend(comparison, threshold, span)}")


def _shown(number: float) -> str:
    """As it was meant: never rounded to another number."""
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


_WORDS: Final[Mapping[Comparison, str]] = {
    Comparison.ABOVE: "above",
    Comparison.AT_LEAST: "at least",
    Comparison.BELOW: "below",
    Comparison.AT_MOST: "at most",
    Comparison.EQUAL: "equal to",
    Comparison.NOT_EQUAL: "not equal to",
}


def _mend(comparison: Comparison, threshold: float, span: Span) -> str:
    if comparison is Comparison.NAN:
        return "a source that gives NaN is a fault of the collector, see collector_up"
    if span.unit == RATIO and span.most == 1 and 2 <= threshold <= 100:
        return f"did you mean {_shown(threshold / 100)}, or {_shown(threshold)}%?"
    if math.isinf(span.most):
        return f"its values begin at {span.least:g}"
    return f"its values are from {span.least:g} to {span.most:g}"
