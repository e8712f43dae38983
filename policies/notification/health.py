"""Whether a receiver answers: said once when it stops, and once when it is back."""

from flyball.policies.notification.base import Delivered, Gone
from flyball.policies.notification.log import Log
from flyball.policies.notification.send import Attempt, name_of

FAILING = 5
"""So many failures in a row are the receiver's and not a notification's."""


class Health:
    """How a receiver did of late."""

    def __init__(self, receiver: str, log: Log) -> None:
        self._receiver, self._log = receiver, log
        self._in_a_row = 0
        self._said: set[str] = set()

    @property
    def failing(self) -> bool:
        """Whether nothing gets through: one try at a time is enough then."""
        return self._in_a_row >= FAILING

    def note(self, attempt: Attempt) -> bool:
        """Take in an answer; True where it ends a time in which nothing got through."""
        if isinstance(attempt.answer, Delivered):
            return self._well()
        self._in_a_row += 1
        reason = getattr(attempt.answer, "reason", "gone")
        # One failure of each kind is worth a line, not each of thousands.
        if reason not in self._said and not isinstance(attempt.answer, Gone):
            self._said.add(reason)
            self._log.warning(
                "notification not delivered; it will be tried again",
                receiver=self._receiver,
                answer=name_of(attempt.answer),
                reason=reason,
                detail=attempt.delivery.detail,
            )
        return False

    def _well(self) -> bool:
        was_failing = self.failing
        if self._said:
            self._log.info("receiver takes notifications again", receiver=self._receiver)
        self._in_a_row = 0
        self._said.clear()
        return was_failing
