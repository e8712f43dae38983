"""Dedup: each change of an alert is told once, and only what a receiver has reason to hear."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping

from flyball.history.alert_records import Alert, AlertStatus, Notification, Outcome, Transition
from flyball.policies.notification.stage import End, Verdict

_TOLD = (AlertStatus.FIRING, AlertStatus.RESOLVED)
Wants = Callable[[Alert], bool]
"""Whether a receiver is told of an alert, by its severity and status."""


def everything(alert: Alert) -> bool:
    """What a receiver wants that says nothing else."""
    del alert
    return True


def notifications(
    transitions: Iterable[Transition], receivers: Mapping[str, Wants]
) -> Iterator[Notification]:
    """Yield what is to be told of changes: that an alert fires, and that it is over.

    Of a change that is recorded again the database keeps the first notification, with its ``webhook-id``.
    """
    for transition in transitions:
        for receiver, wants in receivers.items() if transition.alert.status in _TOLD else ():
            if not wants(transition.alert):
                continue
            yield Notification(
                webhook_id=f"msg_{uuid.uuid4().hex}",
                receiver=receiver,
                alert=transition.alert,
                created_time=transition.time,
                next_time=transition.time,
            )


class Dedup:
    """Ends the news that an alert is over where nobody heard that it fired."""

    def judge(self, notification: Notification) -> Verdict:
        """Let pass what the receiver can make sense of."""
        return None if notification.told else End(outcome=Outcome.UNTOLD)
