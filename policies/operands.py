"""Makes operands and expressions of a policy's keys, and refuses what no series can give."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flyball.collectors.base import PREFIX, Kind, Metric
from flyball.collectors.catalog import METRICS
from flyball.policies.faults import Faults, Path, did_you_mean
from flyball.policies.keys import BaselineKeys, OperandKeys, PolicyKeys, Read, read_keys
from flyball.policies.matching import read_match
from flyball.policies.rule import Aggregate, Arithmetic, Expression, Match, Operand

LEAST_WINDOW_SECONDS = 1.0
LEAST_COUNTED_SECONDS = 2.0
"""A rate needs two readings, and collectors read once a second."""

AGGREGATES: Mapping[Kind, tuple[Aggregate, ...]] = {
    Kind.GAUGE: tuple(each for each in Aggregate if each not in (Aggregate.RATE, Aggregate.INCREASE)),
    Kind.COUNTER: (Aggregate.RATE, Aggregate.INCREASE, Aggregate.LAST),
    Kind.HISTOGRAM: tuple(
        each for each in Aggregate if each not in (Aggregate.LAST, Aggregate.MIN, Aggregate.MAX)
    ),
}
"""What can be made of each kind of metric."""

_COUNTED = (Aggregate.RATE, Aggregate.INCREASE)
_SUFFIXES = ("_bucket", "_sum", "_count")


def read_expression(read: Read[PolicyKeys]) -> Expression | None:
    """Return what a policy compares; None, and faults, where it cannot be made."""
    left = read_operand(read)
    wanted = [name for name in (*Arithmetic, "baseline") if read.has(name)]
    for second in wanted[1:]:
        read.add(second, f"stands beside {wanted[0]}", mend="keep one of them")
    if not wanted:
        return Expression(left=left) if left is not None else None
    if wanted[0] == "baseline":
        arithmetic, right = Arithmetic.DIVIDED_BY, _read_baseline(read, left)
    else:
        arithmetic, right = Arithmetic(wanted[0]), _read_partner(read, wanted[0], left)
    if left is None or right is None:
        return None
    return Expression(left=left, arithmetic=arithmetic, right=right)


def read_operand(read: Read[Any]) -> Operand | None:
    """Return what ``metric``, ``match``, ``aggregate``, ``window`` and ``offset`` say."""
    keys: OperandKeys = read.keys
    if not keys.metric:
        if "metric" not in read.wrong:
            read.add("", "metric is missing", mend="name one of docs/metrics.md")
        return None
    metric = _read_metric(keys.metric, [*read.at, "metric"], read.faults)
    if metric is None:
        return None
    matchers = read_match(keys.match, metric, [*read.at, "match"], read.faults)
    if not read.wrong.isdisjoint(("aggregate", "window")) or not _has_aggregate(metric, read):
        return None
    aggregate = keys.aggregate or Aggregate.LAST
    if not _fits_window(aggregate, read):
        return None
    return Operand(
        metric=metric,
        matchers=matchers,
        aggregate=aggregate,
        window_seconds=keys.window or 0.0,
        offset_seconds=keys.offset,
    )


def _read_metric(name: str, at: Path, faults: Faults) -> Metric | None:
    if name in METRICS:
        return METRICS[name]
    bare = name.removeprefix(PREFIX)
    stem = next((bare.removesuffix(each) for each in _SUFFIXES if bare.endswith(each)), bare)
    if bare in METRICS:
        faults.add(at, f"names stand without {PREFIX} here", mend=f"write {bare}")
    elif stem in METRICS and METRICS[stem].kind is Kind.HISTOGRAM:
        mend = f"write {stem}, and what is wanted of it as aggregate"
        faults.add(at, f"{name} is a part of a histogram", mend=mend)
    else:
        mend = did_you_mean(bare, METRICS, otherwise="see docs/metrics.md")
        faults.add(at, f"'{name}' is no metric", mend=mend)
    return None


def _has_aggregate(metric: Metric, read: Read[Any]) -> bool:
    known, aggregate = AGGREGATES[metric.kind], read.keys.aggregate
    if (aggregate or Aggregate.LAST) in known:
        return True
    mend = f"write one of {', '.join(known)}"
    if aggregate is None:
        read.add("", f"{metric.name} is a histogram, and aggregate is missing", mend=mend)
    else:
        read.add("aggregate", f"a {metric.kind} such as {metric.name} has no {aggregate}", mend=mend)
    return False


def _fits_window(aggregate: Aggregate, read: Read[Any]) -> bool:
    window: float | None = read.keys.window
    if aggregate is Aggregate.LAST:
        if window is not None:
            mend = "take it out, or write another aggregate than last"
            read.add("window", "does nothing: the last value needs none", mend=mend)
        return window is None
    least = LEAST_COUNTED_SECONDS if aggregate in _COUNTED else LEAST_WINDOW_SECONDS
    if window is None:
        read.add("aggregate", f"{aggregate} needs a window", mend="write window: 2m or the like")
    elif window < least:
        read.add("window", f"is too short for {aggregate}", mend=f"write {least:g}s or more")
    return window is not None and window >= least


def _read_partner(read: Read[PolicyKeys], name: str, left: Operand | None) -> Operand | None:
    at, value = [*read.at, name], getattr(read.keys, name)
    if isinstance(value, str):
        right = _same_of(value, left, at, read)
    else:
        found = read_keys(OperandKeys, value, at, read.faults, noun="metric")
        right = read_operand(found) if found is not None else None
    if left is None or right is None:
        return None
    if set(left.metric.labels) != set(right.metric.labels):
        labels = ", ".join(right.metric.labels) or "none"
        mend = f"name a metric with the labels {', '.join(left.metric.labels) or 'none'}"
        read.add(name, f"the labels of {right.metric.name} are {labels}", mend=mend)
        return None
    for label in sorted(_apart(left, right)):
        mend = f"match the same {label} on both sides"
        read.add(name, f"its series never have the same {label} as those of {left.metric.name}", mend=mend)
    return right


def _same_of(name: str, left: Operand | None, at: Path, read: Read[PolicyKeys]) -> Operand | None:
    metric = _read_metric(name, at, read.faults)
    if metric is None or left is None:
        return None
    if left.aggregate not in AGGREGATES[metric.kind]:
        mend = f"write {{metric: {name}, aggregate: ...}} with one of {', '.join(AGGREGATES[metric.kind])}"
        read.faults.add(at, f"a {metric.kind} such as {name} has no {left.aggregate}", mend=mend)
        return None
    return replace(left, metric=metric)


def _apart(left: Operand, right: Operand) -> set[str]:
    """Labels that both sides hold equal to something, and not to the same."""
    one, other = equalities(left), equalities(right)
    return {label for label in one.keys() & other.keys() if one[label] != other[label]}


def equalities(operand: Operand) -> dict[str, str]:
    """The labels that must be equal to one value, with it."""
    return {each.label: each.value for each in operand.matchers if each.match is Match.EQUAL}


def _read_baseline(read: Read[PolicyKeys], left: Operand | None) -> Operand | None:
    found = read_keys(
        BaselineKeys, read.keys.baseline, [*read.at, "baseline"], read.faults, noun="longer window"
    )
    if found is None or found.wrong or left is None:
        return None
    keys = found.keys
    if keys.window is None:
        found.add("", "window is missing", mend="write window: 30m or the like")
        return None
    aggregate = keys.aggregate or left.aggregate
    known = [each for each in AGGREGATES[left.metric.kind] if each is not Aggregate.LAST]
    if aggregate not in known:
        what = f"a longer window of {left.metric.name} has no {aggregate}"
        found.add("aggregate" if keys.aggregate else "", what, mend=f"write one of {', '.join(known)}")
        return None
    if keys.window <= left.window_seconds:
        mend = "write a longer one: it is what is usual for the run"
        found.add("window", f"is no longer than that of the policy, {left.window_seconds:g} s", mend=mend)
        return None
    offset = left.window_seconds + left.offset_seconds
    return replace(left, aggregate=aggregate, window_seconds=keys.window, offset_seconds=offset)
