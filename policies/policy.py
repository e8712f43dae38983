"""Makes a rule of one policy of a file, and refuses what could not be meant."""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flyball.policies.faults import did_you_mean
from flyball.policies.keys import PolicyKeys, Read
from flyball.policies.operands import equalities, read_expression
from flyball.policies.read_while import read_while
from flyball.policies.rule import Comparison, Expression, Rule
from flyball.policies.template import template_faults
from flyball.policies.threshold import check_possible, read_threshold, span_of

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_ABSENT = "absent"
_CONDITIONS = (*(str(each) for each in Comparison), _ABSENT)
_OWN_LABELS = ("alertname", "severity")
_JOINED_BY = {"run", "uuid"}
"""Labels by which ``run_info`` knows a series' rank, GPU or run."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Policy:
    """One policy of a file."""

    alert: str
    """Empty where it has no name that can be used."""
    where: str
    """Where its name stands: file, line and key."""
    place: str
    """``file:line`` where it begins."""
    rule: Rule | None
    """None where it cannot be made; with lesser faults it is made and must not be used."""


def read_policy(read: Read[PolicyKeys], known_knobs: Collection[str]) -> Policy:
    """Return the rule of one policy; all that is wrong goes to the file's faults."""
    place = read.faults.file.place(read.at).partition(": ")[0]
    _check_name(read)
    _check_knobs(read, known_knobs)
    expression = read_expression(read)
    comparison, threshold = _read_condition(read, expression)
    rule = None
    if expression is not None:
        rule = _rule(read, expression, comparison, threshold, place)
    where = read.faults.file.place([*read.at, "alert"])
    return Policy(alert=read.keys.alert, where=where, place=place, rule=rule)


def _rule(
    read: Read[PolicyKeys], expression: Expression, comparison: Comparison, threshold: float, place: str
) -> Rule:
    keys = read.keys
    phase, within_seconds = read_while(read)
    _check_join(read, expression)
    return Rule(
        alert=keys.alert,
        expression=expression,
        comparison=comparison,
        threshold=threshold,
        absent=read.has(_ABSENT),
        phase=phase,
        within_seconds=within_seconds,
        for_seconds=keys.for_seconds,
        keep_firing_for_seconds=keys.keep_firing_for,
        severity=keys.severity,
        labels=_read_labels(read, expression.left.metric.labels),
        annotations=_read_annotations(read, _series_labels(read, expression)),
        suggests=tuple(keys.suggests),
        place=place,
    )


def _check_name(read: Read[PolicyKeys]) -> None:
    name = read.keys.alert
    if not name:
        if "alert" not in read.wrong:
            read.add("", "alert is missing", mend="give the alert a name")
    elif not _NAME.fullmatch(name):
        read.add("alert", f"'{name}' is no name", mend="write letters, digits and _, as in GpuLost")


def _check_knobs(read: Read[PolicyKeys], known_knobs: Collection[str]) -> None:
    for name in read.keys.suggests:
        if name not in known_knobs:
            mend = did_you_mean(name, known_knobs, otherwise="see docs/knobs.md")
            read.add("suggests", f"'{name}' is no knob", mend=mend)


def _read_condition(read: Read[PolicyKeys], expression: Expression | None) -> tuple[Comparison, float]:
    given = [name for name in _CONDITIONS if read.has(name)]
    if not given:
        read.add("", "has no condition", mend=f"write one of {', '.join(_CONDITIONS)}")
        return Comparison.ABOVE, 0.0
    for second in given[1:]:
        read.add(second, f"stands beside {given[0]}", mend="keep one of them")
    name, value = given[0], getattr(read.keys, given[0])
    if name in (_ABSENT, Comparison.NAN) and value is not True:
        read.add(name, "is not true", mend="write true, or take it out")
    if name == _ABSENT:
        return Comparison.ABOVE, 0.0
    threshold = 0.0
    if expression is not None:
        try:
            span = span_of(expression)
            threshold = 0.0 if name == Comparison.NAN else read_threshold(value, span)
            check_possible(Comparison(name), threshold, span)
        except ValueError as refusal:
            read.faults.add_refusal([*read.at, name], refusal)
    return Comparison(name), threshold


def _check_join(read: Read[PolicyKeys], expression: Expression) -> None:
    metric = expression.left.metric
    if read.keys.during is not None:
        if read.has(_ABSENT):
            read.add("while", "a series that is absent is in no phase", mend="take it out")
        elif _JOINED_BY.isdisjoint(metric.labels):
            mend = "take it out, or choose a metric with the label run or uuid"
            read.add("while", f"{metric.name} belongs to no run or GPU, so it is in no phase", mend=mend)
    if read.has(_ABSENT) and expression.arithmetic is not None:
        read.add(_ABSENT, "goes with one metric, without arithmetic", mend="take one of them out")


def _series_labels(read: Read[PolicyKeys], expression: Expression) -> tuple[str, ...]:
    """The labels that the alert's series have; an absent one those that must be equal to one value."""
    if not read.has(_ABSENT):
        return expression.left.metric.labels
    matchers = Counter(each.label for each in expression.left.matchers)
    return tuple(label for label in equalities(expression.left) if matchers[label] == 1)


def _read_labels(read: Read[PolicyKeys], series: Collection[str]) -> Mapping[str, str]:
    for name, value in read.keys.labels.items():
        at = [*read.at, "labels", name]
        for what, mend in (*_faults_of_label(name, series), *_faults_of_text(value)):
            read.faults.add(at, what, mend=mend)
        if value == "":
            read.faults.add(at, "is empty, which is no label", mend="write a text, or take it out")
        elif "{{" in str(value):
            read.faults.add(at, "labels take no templates", mend="write the placeholder in an annotation")
    return {name: str(value) for name, value in read.keys.labels.items()}


def _faults_of_label(name: str, series: Collection[str]) -> Iterator[tuple[str, str]]:
    if not _NAME.fullmatch(name) or name.startswith("__"):
        yield f"'{name}' is no name of a label", "write letters, digits and _; no digit and no __ first"
    elif name in _OWN_LABELS or name in series:
        owner = "every alert" if name in _OWN_LABELS else "the series"
        mend = "write severity: beside labels" if name == "severity" else "choose another name"
        yield f"{owner} has the label {name} already", mend


def _faults_of_text(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, bool | int | float):
        yield f"{value} is no text", f"write '{value}' in quotes"
    elif not isinstance(value, str):
        yield "is no text", "write a text"


def _read_annotations(read: Read[PolicyKeys], series: Collection[str]) -> Mapping[str, str]:
    for name, value in read.keys.annotations.items():
        at = [*read.at, "annotations", name]
        if not _NAME.fullmatch(name):
            mend = "write letters, digits and _; no digit first"
            read.faults.add(at, f"'{name}' is no name of an annotation", mend=mend)
        for what, mend in _faults_of_text(value):
            read.faults.add(at, what, mend=mend)
        for fault in template_faults(str(value), series):
            read.faults.add(at, fault.what, mend=fault.mend)
    return {name: str(value) for name, value in read.keys.annotations.items()}
