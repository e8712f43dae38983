"""Send: one try, whatever the receiver does."""

import asyncio
from dataclasses import dataclass

from flyball.clock import Clock
from flyball.history.alert_records import Delivery, Notification
from flyball.policies.notification.base import Answer, Delivered, Gone, Receiver, Refused, Retry

LONGEST_SEND_SECONDS = 60.0
"""Receivers have timeouts of their own; this holds for one that forgot."""
_MOST_DETAIL = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """One try and its answer."""

    notification: Notification
    answer: Answer
    delivery: Delivery


async def attempt(receiver: Receiver, notification: Notification, clock: Clock) -> Attempt:
    """Try once; raises nothing but CancelledError."""
    time, begun = clock.time(), clock.monotonic()
    answer = await _ask(receiver, notification)
    delivery = Delivery(
        time=time,
        seconds=clock.monotonic() - begun,
        outcome=name_of(answer),
        status=answer.status,
        detail=" ".join(answer.detail.split())[:_MOST_DETAIL],
    )
    return Attempt(notification=notification, answer=answer, delivery=delivery)


async def _ask(receiver: Receiver, notification: Notification) -> Answer:
    try:
        async with asyncio.timeout(LONGEST_SEND_SECONDS):
            return await receiver.send(notification)
    except TimeoutError:
        return Retry(reason="timeout", detail=f"no answer in {LONGEST_SEND_SECONDS:.0f} s")
    except Exception as error:  # a receiver with a fault must not stop the others
        # The text of an unknown error may hold a secret.
        return Retry(reason="fault", detail=f"the receiver failed with {type(error).__name__}")


def name_of(answer: Answer) -> str:
    """Return ``delivered``, ``retry``, ``refused`` or ``gone``."""
    return {Delivered: "delivered", Retry: "retry", Refused: "refused", Gone: "gone"}[type(answer)]
