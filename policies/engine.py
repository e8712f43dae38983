"""Evaluates rules over readings: what Prometheus would make of the same rules and samples, without it.

``flyball policies export`` writes a rule in PromQL; both agree on the same samples (Prometheus 2.42: windows
include both ends). A rule's series exists while it has a current sample, so that an alert never outlives its
series by the window.

Time is the caller's, in seconds since the epoch, and should not jump: readings that are not later than the
source's last one are left out, and an evaluation before the last one changes nothing. After a jump ahead all
is as after an outage of that length: what was not read within the lookback holds no longer, and a condition
that still holds has held all the while.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from flyball.collectors.base import Sample
from flyball.history.alert_records import Alert, AlertStatus, Transition
from flyball.policies.conditions import Conditions
from flyball.policies.restart import GRACE_MS, ended, restored
from flyball.policies.rule import Rule
from flyball.policies.rule_alerts import Render, RuleAlerts, meaning, window_ms
from flyball.policies.series import SeriesStore
from flyball.policies.template import fill
from flyball.policies.windows import Moment, milliseconds

_FORGET_EVERY_MS = 10_000
_RECORDS = "\0records"
"""The source of what the engine records itself; no collector has such a name."""


def _filled(text: str, labels: Mapping[str, str], value: float) -> str:
    return fill(text, labels=labels, value=value)


class Engine:
    """One alert state for each rule and series. Not for several threads at once.

    Args:
        rules: checked ones, no two of one name.
        lookback_seconds: for how long a sample holds where its source is not read any more.
        render: fills annotations in.
    """

    def __init__(
        self, rules: Sequence[Rule], *, lookback_seconds: float = 300.0, render: Render = _filled
    ) -> None:
        self._lookback_ms, self._render = milliseconds(lookback_seconds), render
        self._conditions = Conditions(())
        self._store = SeriesStore(
            is_needed=lambda metric: self._conditions.are_about(metric),
            retention=lambda metric, labels: self._conditions.needed_ms(metric, labels),
            admitted=lambda series: self._conditions.bind(series),
            forgotten=lambda series: self._conditions.unbind(series),
        )
        self._evaluated_ms = self._forgotten_ms = -(2**62)
        self._first_read_ms: int | None = None
        self._guarded: set[tuple[int, str]] = set()
        """Alerts from before the start, by number of the rule and fingerprint."""
        self._due: list[Alert] = []
        """What the restart itself changed, to be told by the next evaluation."""
        self._adopt(rules)

    def observe(self, source: str, time: float, samples: Iterable[Sample]) -> None:
        """One whole reading of one source: what it gave before and does not give now is stale from then on.

        ``time`` holds for all samples, whatever they say themselves. Unavailable ones count as not given.
        """
        if self._first_read_ms is None:
            self._first_read_ms = milliseconds(time)
        self._store.observe(source, milliseconds(time), samples)

    def stale(self, source: str, time: float) -> None:
        """The source's last reading holds no longer: all its series are stale."""
        self._store.stale(source, milliseconds(time))

    def evaluate(self, time: float) -> tuple[Transition, ...]:
        """Evaluate all rules; return what changed, in the rules' order. Nothing is ever told twice."""
        at = Moment(milliseconds(time), self._lookback_ms)
        if at.time_ms < self._evaluated_ms:
            return ()
        self._evaluated_ms = at.time_ms
        with np.errstate(all="ignore"):
            self._store.record(_RECORDS, at.time_ms, self._conditions.records(at))
            found = self._conditions.found(at)
            transitions = [Transition(alert=alert, time=time) for alert in self._due]
            self._due.clear()
            for number, alerts in enumerate(self._alerts):
                if number in found or alerts.states:
                    transitions += alerts.advance(found.get(number, {}), time, self._guard(number, at))
        if at.time_ms >= self._forgotten_ms + _FORGET_EVERY_MS:
            self._forgotten_ms = at.time_ms
            self._store.forget(at.time_ms, self._lookback_ms)
        return tuple(transitions)

    def restore(self, alerts: Iterable[Alert], *, now: float, down_seconds: float) -> None:
        """Go on with the pending and firing alerts of the agent's last life, before the first reading.

        The time it was down does not count towards ``for``: a pending alert goes on with a later
        ``active_time``, which is told as one that was dropped and a new one. Alerts of rules that are gone
        end, and all but the newest of one series. The next evaluation tells that; firing is not told again.
        flyball.policies.restart says how long an alert stands while its windows fill.
        """
        numbers = {each.rule.alert: number for number, each in enumerate(self._alerts)}
        standing = (AlertStatus.PENDING, AlertStatus.FIRING)
        for alert in sorted(alerts, key=lambda each: each.active_time, reverse=True):
            if alert.status not in standing:
                continue
            number = numbers.get(alert.rule)
            if number is None or alert.fingerprint in self._alerts[number].states:
                self._due.append(ended(alert, now))
                continue
            held = self._alerts[number]
            state = restored(alert, held.rule, max(down_seconds, 0.0))
            held.states[alert.fingerprint] = state
            self._guarded.add((number, alert.fingerprint))
            if state.active_time != alert.active_time:
                self._due += [ended(alert, now), replace(alert, active_time=state.active_time)]
        self._first_read_ms = None

    def active(self) -> tuple[Alert, ...]:
        """All pending and firing alerts, in the rules' order."""
        return tuple(alert for each in self._alerts if each.states for alert in each.alerts())

    @property
    def series(self) -> int:
        """How many series it holds samples of."""
        return len(self._store)

    @property
    def sample_bytes(self) -> int:
        """Room for their samples."""
        return self._store.cells * 8

    def change(self, rules: Sequence[Rule], time: float) -> tuple[Transition, ...]:
        """Take other rules from now on; return what ends with the old ones.

        A rule of the same name and meaning keeps its alerts, and series keep the samples that are still
        needed. ``for``, ``keep_firing_for``, annotations and suggestions may change.
        """
        before = list(enumerate(self._alerts))
        guarded, self._guarded = self._guarded, set()
        self._adopt(rules)
        kept = {meaning(each.rule): (number, each) for number, each in enumerate(self._alerts)}
        transitions: list[Transition] = []
        for old_number, old in before:
            number, heir = kept.get(meaning(old.rule), (-1, None))
            if heir is None:
                transitions += old.end(time)
                continue
            heir.states.update(old.states)
            self._guarded |= {(number, name) for name in old.states if (old_number, name) in guarded}
        return tuple(transitions)

    def _adopt(self, rules: Sequence[Rule]) -> None:
        self._alerts = [RuleAlerts(rule, self._render) for rule in rules]
        self._conditions = Conditions(rules)
        self._store.rebuild()
        for series in self._store:
            self._conditions.bind(series)

    def _guard(self, number: int, at: Moment) -> Callable[[str], bool]:
        names = {name for guarded, name in self._guarded if guarded == number} if self._guarded else set()
        return lambda name: name in names and self._stays(number, name, at)

    def _stays(self, number: int, name: str, at: Moment) -> bool:
        needed_ms = window_ms(self._alerts[number].rule)
        begun_ms, limit_ms = self._first_read_ms, max(needed_ms, GRACE_MS)
        read_since_ms = self._conditions.read_since_ms(number, name, at)
        if read_since_ms is not None:
            begun_ms, limit_ms = read_since_ms, needed_ms
        if begun_ms is None or at.time_ms - begun_ms < limit_ms:
            return True
        self._guarded.discard((number, name))
        return False
