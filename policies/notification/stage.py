"""What stands before a send: small stages, each of which lets a notification pass, holds it or ends it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from flyball.history.alert_records import Notification, Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Not yet: ask again in so many seconds."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """It is not sent."""

    outcome: Outcome


Verdict = Hold | End | None
"""None lets it pass."""


class Stage(Protocol):
    """One reason not to send."""

    def judge(self, notification: Notification) -> Verdict:
        """Say what becomes of a notification whose turn it is."""
        ...


def judge(stages: Iterable[Stage], notification: Notification) -> Verdict:
    """Return the first verdict that is not to let it pass."""
    for stage in stages:
        verdict = stage.judge(notification)
        if verdict is not None:
            return verdict
    return None
