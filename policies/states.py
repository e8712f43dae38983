"""The states of one alert, as types; what each evaluation makes of them, as Prometheus 2.42 does.

An alert without a state is inactive.

    Inactive -- the condition holds, ``for`` is 0 --> Firing
    Inactive -- the condition holds --> Pending -- it still does after ``for`` --> Firing
    Pending -- it ends --> Inactive, dropped
    Firing -- it ends, and has ended for ``keep_firing_for`` --> Inactive, resolved
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What an alert is about."""

    labels: Mapping[str, str]
    """The alert's."""
    series: Mapping[str, str]
    """The series' own: what templates see."""
    fingerprint: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Inactive:
    """The condition does not hold.

    to Pending or Firing: it holds.
    """

    def holds(self, subject: Subject, value: float, now: float, wait_ms: int) -> "Pending | Firing":
        """The condition holds; ``wait_ms`` is the rule's ``for``."""
        if wait_ms > 0:
            return Pending(subject=subject, value=value, active_time=now)
        return Firing(subject=subject, value=value, active_time=now, fired_time=now)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pending:
    """The condition holds, not yet for long enough.

    to Firing: it has held for ``for``. to Inactive: it ends; the alert is dropped.
    """

    subject: Subject
    value: float
    """When it was last true."""
    active_time: float

    def holds(self, value: float, now: float, wait_ms: int) -> "Pending | Firing":
        """The condition still holds."""
        if elapsed_ms(self.active_time, now) >= wait_ms:
            return Firing(subject=self.subject, value=value, active_time=self.active_time, fired_time=now)
        if value == self.value and value:  # not zero: see Firing.holds
            return self
        return Pending(subject=self.subject, value=value, active_time=self.active_time)


@dataclass(frozen=True, kw_only=True, slots=True)
class Firing:
    """The alert stands.

    to Inactive: the condition ends, and has ended for ``keep_firing_for``; the alert is resolved.
    """

    subject: Subject
    value: float
    """When it was last true."""
    active_time: float
    fired_time: float
    quiet_time: float | None = None
    """When the condition ended, while the alert is kept."""

    def holds(self, value: float) -> "Firing":
        """The condition still holds, or does again."""
        # Minus zero equals zero, and is written otherwise.
        if self.quiet_time is None and value == self.value and value:
            return self
        return Firing(
            subject=self.subject, value=value, active_time=self.active_time, fired_time=self.fired_time
        )

    def ends(self, now: float, keep_ms: int) -> "Firing | Inactive":
        """The condition does not hold; ``keep_ms`` is the rule's ``keep_firing_for``."""
        quiet = self.quiet_time if self.quiet_time is not None else now
        return replace(self, quiet_time=quiet) if elapsed_ms(quiet, now) < keep_ms else Inactive()


def elapsed_ms(since: float, now: float) -> int:
    """Whole milliseconds."""
    return round(now * 1000) - round(since * 1000)
