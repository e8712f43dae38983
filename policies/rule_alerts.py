"""The alerts of one rule."""

from collections.abc import Callable, Hashable, Iterator, Mapping

from flyball.history.alert_records import Alert, AlertStatus, Transition
from flyball.policies.fingerprint import fingerprint
from flyball.policies.rule import Rule
from flyball.policies.states import Firing, Inactive, Pending, Subject
from flyball.policies.windows import milliseconds

Render = Callable[[str, Mapping[str, str], float], str]
"""Fills a template in: text, labels of the series, value."""


def subject_of(rule: Rule, series: Mapping[str, str]) -> Subject:
    """What a rule's alert about a series is called: the rule's labels go before the series'."""
    own = {**rule.labels, "severity": rule.severity.value, "alertname": rule.alert}
    labels = {name: value for name, value in {**series, **own}.items() if value}
    return Subject(labels=labels, series=dict(series), fingerprint=fingerprint(labels))


def meaning(rule: Rule) -> Hashable:
    """What makes a rule's alerts the alerts of that rule; texts and times may change without ending them."""
    labels = frozenset(rule.labels.items())
    condition = rule.comparison, rule.threshold, rule.absent, rule.phase
    return rule.alert, rule.expression, condition, labels, rule.severity


def window_ms(rule: Rule) -> int:
    """How far back a rule looks."""
    operands = (rule.expression.left, rule.expression.right)
    windows = (
        max(each.window_seconds, rule.within_seconds) + each.offset_seconds for each in operands if each
    )
    return milliseconds(max(windows))


class RuleAlerts:
    """The pending and firing alerts of a rule, by fingerprint."""

    def __init__(self, rule: Rule, render: Render) -> None:
        self.rule, self._render = rule, render
        self.states: dict[str, Pending | Firing] = {}
        self._shown: dict[str, tuple[Pending | Firing, Alert]] = {}
        """What :meth:`alerts` returned last."""

    def advance(
        self, found: Mapping[str, tuple[Subject, float]], now: float, is_kept: Callable[[str], bool]
    ) -> Iterator[Transition]:
        """What changes now that the condition holds for ``found`` and nothing else.

        ``is_kept`` says of an alert of which it does not hold whether that may be due to a restart.
        """
        for name, (subject, value) in found.items():
            yield from self._holds(name, subject, value, now)
        for name in [name for name in self.states if name not in found]:
            if not is_kept(name):
                yield from self._ends(name, now)

    def end(self, now: float) -> Iterator[Transition]:
        """End all of them: the rule is gone."""
        for name, state in list(self.states.items()):
            del self.states[name]
            yield self._ended(state, now)

    def alerts(self) -> list[Alert]:
        """As they stand; one of which nothing has changed is the same object as before."""
        before, self._shown = self._shown, {}
        for name, state in self.states.items():
            shown = before.get(name)
            if shown is None or shown[0] is not state:
                shown = state, self._alert(state)
            self._shown[name] = shown
        return [alert for _, alert in self._shown.values()]

    def _holds(self, name: str, subject: Subject, value: float, now: float) -> Iterator[Transition]:
        before = self.states.get(name, Inactive())
        wait_ms = milliseconds(self.rule.for_seconds)
        if isinstance(before, Firing):
            self.states[name] = before.holds(value)
            return
        if isinstance(before, Pending):
            after = before.holds(value, now, wait_ms)
        else:
            after = before.holds(subject, value, now, wait_ms)
        self.states[name] = after
        if type(after) is not type(before):
            yield Transition(alert=self._alert(after), time=now)

    def _ends(self, name: str, now: float) -> Iterator[Transition]:
        state = self.states[name]
        after = Inactive() if isinstance(state, Pending) else state.ends(now, self._keep_ms)
        if not isinstance(after, Inactive):
            self.states[name] = after
            return
        del self.states[name]
        yield self._ended(state, now)

    @property
    def _keep_ms(self) -> int:
        return milliseconds(self.rule.keep_firing_for_seconds)

    def _ended(self, state: Pending | Firing, now: float) -> Transition:
        status = AlertStatus.DROPPED if isinstance(state, Pending) else AlertStatus.RESOLVED
        return Transition(alert=self._alert(state, status, resolved_time=now), time=now)

    def _alert(
        self, state: Pending | Firing, status: AlertStatus | None = None, resolved_time: float | None = None
    ) -> Alert:
        firing = state if isinstance(state, Firing) else None
        texts = self.rule.annotations.items()
        return Alert(
            rule=self.rule.alert,
            labels=state.subject.labels,
            fingerprint=state.subject.fingerprint,
            annotations={key: self._render(text, state.subject.series, state.value) for key, text in texts},
            suggests=self.rule.suggests,
            status=status or (AlertStatus.FIRING if firing else AlertStatus.PENDING),
            value=state.value,
            active_time=state.active_time,
            fired_time=firing.fired_time if firing else None,
            quiet_time=firing.quiet_time if firing else None,
            resolved_time=resolved_time,
        )
