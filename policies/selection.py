"""Which series a rule looks at."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

from flyball.collectors.base import Metric
from flyball.policies.regular_expression import matching
from flyball.policies.rule import Match, Matcher, Operand

Labels = Mapping[str, str]
Chosen = TypeVar("Chosen", bound=Hashable)


def labels_of(metric: Metric, values: Sequence[str]) -> dict[str, str]:
    """A series' labels; an empty label is none, as in Prometheus."""
    return {name: value for name, value in zip(metric.labels, values, strict=True) if value}


def condition(matcher: Matcher) -> Callable[[Labels], bool]:
    """Whether labels meet one matcher; a label that is not there is empty."""
    name, value = matcher.label, matcher.value
    if matcher.match in (Match.REGEX, Match.NOT_REGEX):
        matches, expected = matching(value), matcher.match is Match.REGEX
        return lambda labels: matches(labels.get(name, "")) is expected
    wanted = matcher.match is Match.EQUAL
    return lambda labels: (labels.get(name, "") == value) is wanted


def labels_where_absent(matchers: Sequence[Matcher]) -> dict[str, str]:
    """What Prometheus' ``absent`` knows of the series that is not there: labels with one equality matcher."""
    known: dict[str, str] = {}
    for matcher in matchers:
        if matcher.match is Match.EQUAL and matcher.label not in known:
            known[matcher.label] = matcher.value
        else:
            known.pop(matcher.label, None)
    return {name: value for name, value in known.items() if value}


class SelectionIndex(Generic[Chosen]):
    """Finds what selects a series without asking every matcher of every rule.

    Selectors with an equality matcher are filed under it, so that a thousand rules, each on a run of its own,
    cost a new series no more than one would.
    """

    def __init__(self) -> None:
        self._filed: dict[Metric, dict[tuple[str, str], list[tuple[Chosen, list[Callable[[Labels], bool]]]]]]
        self._filed = {}

    def add(self, operand: Operand, chosen: Chosen) -> None:
        """``chosen`` is found for every series that the operand selects."""
        equal = next((each for each in operand.matchers if each.match is Match.EQUAL and each.value), None)
        key = (equal.label, equal.value) if equal else ("", "")
        conditions = [condition(each) for each in operand.matchers if each is not equal]
        self._filed.setdefault(operand.metric, {}).setdefault(key, []).append((chosen, conditions))

    def selects(self, metric: Metric) -> bool:
        """Whether anything selects some series of a metric."""
        return metric in self._filed

    def find(self, metric: Metric, labels: Labels) -> list[Chosen]:
        """Whatever selects a series."""
        filed = self._filed.get(metric, {})
        return [
            chosen
            for key in (("", ""), *labels.items())
            for chosen, conditions in filed.get(key, ())
            if all(meets(labels) for meets in conditions)
        ]
