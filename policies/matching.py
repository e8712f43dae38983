"""Reads ``match``: which values a label must have.

A text stands for itself, a list for any of its values; ``{not: ...}`` for all others; ``{regex: ...}`` and
``{not_regex: ...}`` take a regular expression that must match the whole value.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.collectors.base import Metric
from flyball.policies.faults import Faults, Path, did_you_mean
from flyball.policies.regular_expression import check, quote
from flyball.policies.rule import Match, Matcher

_KEYS = ("not", "regex", "not_regex")


def read_match(match: Mapping[str, Any], metric: Metric, at: Path, faults: Faults) -> tuple[Matcher, ...]:
    """Return the matchers of a metric's labels; what is wrong goes to ``faults``.

    Args:
        match: as it stands in the file.
        metric: whose labels may be named.
        at: where it stands.
        faults: of the file.
    """
    found: list[Matcher] = []
    for label, wanted in match.items():
        place = [*at, label]
        if label not in metric.labels:
            listing = f"its labels are {', '.join(metric.labels)}" if metric.labels else "it has none"
            mend = did_you_mean(label, metric.labels, otherwise=listing)
            faults.add(place, f"{metric.name} has no such label", mend=mend)
            continue
        try:
            found.extend(_matchers(label, wanted))
        except ValueError as refusal:
            faults.add_refusal(place, refusal)
    return tuple(found)


def _matchers(label: str, wanted: Any) -> Iterator[Matcher]:
    if not isinstance(wanted, Mapping):
        yield _among(label, wanted, one=Match.EQUAL, several=Match.REGEX)
        return
    if not wanted:
        raise ValueError("says nothing; write a value, a list of values, or {not: ...}")
    for key, value in wanted.items():
        if key == "not":
            yield _among(label, value, one=Match.NOT_EQUAL, several=Match.NOT_REGEX)
        elif key in _KEYS:
            pattern = _text(value)
            check(pattern)
            match = Match.REGEX if key == "regex" else Match.NOT_REGEX
            yield Matcher(label=label, match=match, value=pattern)
        else:
            mend = did_you_mean(str(key), _KEYS, otherwise=f"write one of {', '.join(_KEYS)}")
            raise ValueError(f"'{key}' is no way to match; {mend}")


def _among(label: str, value: Any, *, one: Match, several: Match) -> Matcher:
    if not isinstance(value, list):
        return Matcher(label=label, match=one, value=_text(value))
    values = [_text(each) for each in value]
    if not values:
        raise ValueError("is an empty list; write the values that are wanted")
    if len(values) == 1:
        return Matcher(label=label, match=one, value=values[0])
    return Matcher(label=label, match=several, value="|".join(map(quote, values)))


def _text(value: Any) -> str:
    if isinstance(value, bool | int | float):
        raise ValueError(f"{value} is no text, as labels are; write '{value}' in quotes")
    if not isinstance(value, str):
        raise ValueError("is no text; write a value, a list of values, or {not: ...}")
    return value
