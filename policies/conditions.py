"""Whether the rules' conditions hold: for which series, with which value."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from flyball.collectors.base import Metric
from flyball.collectors.catalog import RUN_INFO
from flyball.policies.candidates import Candidate
from flyball.policies.in_phase import Recorder, is_recorded, of_records
from flyball.policies.phases import UNDER_WAY, Phases, join_labels
from flyball.policies.plan import Plan
from flyball.policies.rule import Rule
from flyball.policies.rule_alerts import subject_of, window_ms
from flyball.policies.selection import labels_where_absent
from flyball.policies.series import RowsSample, Series
from flyball.policies.states import Subject
from flyball.policies.windows import Moment, Window, milliseconds

Found = dict[int, dict[str, tuple[Subject, float]]]
"""By number of a rule and fingerprint: what an alert is about, and the value."""


class Conditions:
    """Those of all rules, over the series that are bound to them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(map(of_records, rules))
        self._plan = Plan(self._rules)
        self._recorder = Recorder(rules)
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
        if self._plan.index.selects(metric) or self._recorder.is_needed(metric):
            return True
        return metric is RUN_INFO and self._has_phases

    def needed_ms(self, metric: Metric, labels: Mapping[str, str]) -> int | None:
        """For how long samples of a series are needed, or None for not at all."""
        numbers = {number for number, _ in self._plan.index.find(metric, labels)}
        needed = [window_ms(self._rules[number]) for number in numbers]
        if (metric is RUN_INFO and self._has_phases) or self._recorder.selects(metric, labels):
            needed.append(0)
        return max(needed, default=None)

    def bind(self, series: Series) -> None:
        """From now on there is this series."""
        self._plan.bind(series)
        self._recorder.bind(series)
        if series.metric is RUN_INFO:
            self._phases.add(series)

    def unbind(self, series: Series) -> None:
        """It is forgotten."""
        self._plan.unbind(series)
        self._recorder.unbind(series)
        self._phases.discard(series)

    def records(self, at: Moment) -> Iterator[RowsSample]:
        """Yield what stands in the phases of rules, to be taken in before :meth:`found` is asked."""
        return self._recorder.samples(at, self._phases)

    def found(self, at: Moment) -> Found:
        """What the conditions hold for; of series that a rule's labels make one, the first."""
        found: Found = {}

        def is_asked(candidate: Candidate) -> bool:
            return self._is_asked(candidate, at)

        for batch in self._plan.batches:
            for candidate, value in batch.met(at, is_asked):
                if is_asked(candidate):
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
        if is_recorded(self._rules[number]):
            return self._recorded_since_ms(number, fingerprint, at)
        if number in self._absent:
            return -(2**62) if self._any_present(number, at) else None
        for batch, candidate in self._plan.candidates(number):
            if self._subject(candidate).fingerprint != fingerprint:
                continue
            if candidate in batch.decided(at):
                return candidate.left.grid.begun_ms
        return None

    def _recorded_since_ms(self, number: int, fingerprint: str, at: Moment) -> int | None:
        # Outside of the phase there is nothing to wait for: what is read then does not count.
        rule, names = self._rules[number], self._joined[number]
        for series in self._recorder.of_rule(number):
            if subject_of(rule, series.labels).fingerprint != fingerprint:
                continue
            known = series.holds_at(at) and self._phases.holds((), names, series.labels, at)
            if known and (
                not self._in_phase(number, series.labels, at) or self._is_decided(number, series, at)
            ):
                return series.grid.begun_ms
        return None

    def _is_decided(self, number: int, series: Series, at: Moment) -> bool:
        return any(
            candidate.left.values == series.values and candidate in batch.decided(at)
            for batch, candidate in self._plan.candidates(number)
        )

    def _subject(self, candidate: Candidate) -> Subject:
        if candidate.subject is None:
            candidate.subject = subject_of(self._rules[candidate.rule], candidate.left.labels)
        return candidate.subject

    def _in_phase(self, number: int, labels: Mapping[str, str], at: Moment) -> bool:
        phase = self._rules[number].phase
        return not phase or self._phases.holds((phase,), self._joined[number], labels, at)

    def _is_asked(self, candidate: Candidate, at: Moment) -> bool:
        """Whether a rule's phase holds for a series, or is remembered: a pause is bridged, an end is none."""
        rule, labels = self._rules[candidate.rule], candidate.left.labels
        if not rule.within_seconds:
            return self._in_phase(candidate.rule, labels, at)
        is_under_way = self._phases.holds(UNDER_WAY, self._joined[candidate.rule], labels, at)
        return is_under_way and self._recorder.is_read(candidate.left, at)

    def _any_present(self, number: int, at: Moment) -> bool:
        return any(self._present(number, self._plan.watched[number], at))

    def _present(self, number: int, watched: Iterable[Series], at: Moment) -> Iterable[bool]:
        operand = self._rules[number].expression.left
        end = at.time_ms - milliseconds(operand.offset_seconds)
        if not operand.window_seconds:
            return (series.holds_at(Moment(end, at.lookback_ms)) for series in watched)
        start = end - milliseconds(operand.window_seconds)
        return (bool(Window(series.grid, start, end).column(series.row)) for series in watched)
