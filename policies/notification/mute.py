"""Mute: what nobody wants to hear of now is recorded and not sent."""

from collections.abc import Sequence

from flyball.history.alert_records import AlertStatus, Mute, Notification, Outcome
from flyball.policies.notification.stage import End, Verdict


class Muting:
    """Ends firing alerts that are muted. That one is over is told to whoever heard of it, muted or not."""

    def __init__(self) -> None:
        self.mutes: Sequence[Mute] = ()
        """Those in force."""

    def judge(self, notification: Notification) -> Verdict:
        """End it where its labels match a mute."""
        if notification.alert.status is not AlertStatus.FIRING:
            return None
        muted = any(mute.matches(notification.alert.labels) for mute in self.mutes)
        return End(outcome=Outcome.MUTED) if muted else None
