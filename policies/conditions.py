"""Whether the rules' conditions hold: for which series, with which value."""

from collections.abc import Iterable, Mapping, Sequence

from flyball.collectors.base import Metric
from flyball.collectors.catalog import RUN_INFO
from flyball.policies.candidates import Candidate
from flyball.policies.phases import Phases, join_labels
from flyball.policies.plan import Plan
from flyball.policies.rule import Rule
from flyball.policies.rule_alerts import subject_of, window_ms
from flyball.policies.selection import labels_where_absent
from flyball.policies.series import Series
from flyball.policies.states import Subject
from flyball.policies.windows import Moment, Window, milliseconds

Found = dict[int, dict[str, tuple[Subject, float]]]
"""By number of a rule and fingerprint: what an alert is about, and the value."""


class Conditions:
    """Those of all rules, over the series that are bound to them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self._plan = Plan(rules)
        self._phases = Phases()
        self._has_phases = any(rule.phase for rule in rules)
        self._joined = [join_labels(rule.expression.left.metric) for rule in rules]
        self._absent = {
            number: subject_of(rule, labels_where_absent(rule.expression.left.matchers))
            for number, rule in enumerate(rules)
            if rule.absent
        }

    def are_about(self, metric: Metric) -> bool:
        """Whether any series of a metric is looked at."""
        return self._plan.index.selects(metric) or (metric is RUN_INFO and self._has_phases)

    def needed_ms(self, metric: Metric, labels: Mapping[str, str]) -> int | None:
        """For how long samples of a series are needed, or None for not at all."""
        numbers = {number for number, _ in self._plan.index.find(metric, labels)}
        needed = [window_ms(self._rules[number]) for number in numbers]
        if metric is RUN_INFO and self._has_phases:
            needed.append(0)
        return max(needed, default=None)

    def bind(self, series: Series) -> None:
        """From now on there is this series."""
        self._plan.bind(series)
        if series.metric is RUN_INFO:
            self._phases.add(series)

    def unbind(self, series: Series) -> None:
        """It is forgotten."""
        self._plan.unbind(series)
        self._phases.discard(series)

    def found(self, at: Moment) -> Found:
        """What the conditions hold for; of series that a rule's labels make one, the first."""
        found: Found = {}

        def in_phase(candidate: Candidate) -> bool:
            return self._in_phase(candidate.rule, candidate.left.labels, at)

        for batch in self._plan.batches:
            for candidate, value in batch.met(at, in_phase):
                if in_phase(candidate):
                    subject = candidate.subject or self._subject(candidate)
                    found.setdefault(candidate.rule, {}).setdefault(subject.fingerprint, (subject, value))
        for number, subject in self._absent.items():
            if not self._any_present(number, at) and self._in_phase(number, subject.series, at):
                found[number] = {subject.fingerprint: (subject, 1.0)}
        return found

    def read_since_ms(self, number: int, fingerprint: str, at: Moment) -> int | None:
        """Since when a series is read of which the condition is now either true or false.

        None where it is neither: the series has no value, or lacks its partner or its ``run_info``.
        """
        if number in self._absent:
            return -(2**62) if self._any_present(number, at) else None
        for batch, candidate in self._plan.candidates(number):
            if self._subject(candidate).fingerprint != fingerprint:
                continue
            joined = self._in_phase(number, candidate.left.labels, at, any_phase=True)
            if joined and candidate in batch.decided(at):
                return candidate.left.grid.begun_ms
        return None

    def _subject(self, candidate: Candidate) -> Subject:
        if candidate.subject is None:
            candidate.subject = subject_of(self._rules[candidate.rule], candidate.left.labels)
        return candidate.subject

    def _in_phase(
        self, number: int, labels: Mapping[str, str], at: Moment, *, any_phase: bool = False
    ) -> bool:
        rule = self._rules[number]
        if not rule.phase:
            return True
        return self._phases.holds(None if any_phase else rule.phase, self._joined[number], labels, at)

    def _any_present(self, number: int, at: Moment) -> bool:
        return any(self._present(number, self._plan.watched[number], at))

    def _present(self, number: int, watched: Iterable[Series], at: Moment) -> Iterable[bool]:
        operand = self._rules[number].expression.left
        end = at.time_ms - milliseconds(operand.offset_seconds)
        if not operand.window_seconds:
            return (series.holds_at(Moment(end, at.lookback_ms)) for series in watched)
        start = end - milliseconds(operand.window_seconds)
        return (bool(Window(series.grid, start, end).column(series.row)) for series in watched)
