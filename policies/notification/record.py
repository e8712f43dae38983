"""Record: what an answer means for the notification."""

from flyball.history.alert_records import Finished, Outcome
from flyball.policies.notification.backoff import Backoff
from flyball.policies.notification.base import Delivered, Gone, Refused
from flyball.policies.notification.send import Attempt


def finished(attempt: Attempt, backoff: Backoff, *, now: float) -> Finished:
    """Return what to write down: done, or when to try again.

    What was refused is tried again, too: it is for the user to mend, and must not be lost meanwhile. What
    was on its way to a receiver that is gone waits; disabling the receiver keeps it with the rest.
    """
    one, answer = attempt.notification, attempt.answer
    if isinstance(answer, Delivered):
        return Finished(webhook_id=one.webhook_id, outcome=Outcome.DELIVERED, delivery=attempt.delivery)
    if isinstance(answer, Gone | Refused):
        seconds = backoff.seldom()
    else:
        seconds = backoff.seconds(one.attempts + 1, answer.after_seconds)
    return Finished(
        webhook_id=one.webhook_id, outcome=Outcome.WAITING, delivery=attempt.delivery, next_time=now + seconds
    )
