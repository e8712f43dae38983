"""Limit: not faster than a receiver takes it, and not for ever where it says so."""

from dataclasses import dataclass

from flyball.clock import Clock
from flyball.history.alert_records import Notification, Outcome
from flyball.policies.notification.stage import End, Hold, Verdict


class Rate:
    """Holds what would be more than ``per_minute``; up to as many may go at once after a quiet minute."""

    def __init__(self, per_minute: float, clock: Clock) -> None:
        self._per_second, self._most, self._clock = per_minute / 60.0, max(1.0, per_minute), clock
        self._left, self._since = self._most, clock.monotonic()

    def judge(self, notification: Notification) -> Verdict:
        """Let it pass and count it, or say when it may."""
        del notification
        now = self._clock.monotonic()
        self._left = min(self._most, self._left + (now - self._since) * self._per_second)
        self._since = now
        if self._left < 1.0:
            return Hold(seconds=(1.0 - self._left) / self._per_second)
        self._left -= 1.0
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class GiveUp:
    """Ends what was tried and could not be delivered for so long; nothing is given up without it."""

    after_seconds: float
    clock: Clock

    def judge(self, notification: Notification) -> Verdict:
        """End it where it is too old."""
        age = self.clock.time() - notification.created_time
        too_old = notification.attempts > 0 and age > self.after_seconds
        return End(outcome=Outcome.GIVEN_UP) if too_old else None
