"""What a receiver is, and what it may answer: the sender says what happened, the stage decides what next."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from flyball.history.alert_records import Alert, Notification

RESOLVED_SECONDS = 900.0
"""How long a resolved alert is repeated (Prometheus' ``resolvedRetention``)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivered:
    """The receiver has taken the notification."""

    status: int | None = None
    """HTTP's, where the receiver speaks it."""
    detail: str = ""
    """In the receiver's words, one line, without secrets; here and below."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """It did not work this time, and may the next: 429, 5xx, no connection, no answer in time."""

    reason: str
    """A short name of a fixed set, for the log: ``timeout``, ``unreachable``, ``status`` and the like."""
    detail: str
    status: int | None = None
    after_seconds: float | None = None
    """What the receiver asked for (Retry-After); None where it said nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """It will not work until somebody mends something: 400, 404, a redirect, a bad certificate.

    It is tried again all the same, as seldom as may be: the mend may come at any time.
    """

    reason: str
    detail: str
    status: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """The receiver wants no more of them (410, as Standard Webhooks says): it is disabled."""

    detail: str
    status: int | None = None


Answer = Delivered | Retry | Refused | Gone


class Receiver(Protocol):
    """Where notifications go. One file each in ``policies/notification/receivers``."""

    @property
    def name(self) -> str:
        """As ``flyball.yaml`` calls it: unique among the receivers."""
        ...

    async def send(self, notification: Notification) -> Answer:
        """Try once, within the receiver's own timeout.

        Raises nothing but ``asyncio.CancelledError``: whatever goes wrong is an answer. It may be called for
        several alerts at once, and again with the same ``webhook_id`` after a cancelled or failed try.
        """
        ...

    async def close(self) -> None:
        """Give back connections; nothing is sent after."""
        ...


@runtime_checkable
class Repeater(Protocol):
    """A receiver that must hear of what fires again and again, as an Alertmanager."""

    async def keep(self, active: Callable[[], Sequence[Alert]], *, heard: Callable[[Answer], None]) -> None:
        """Repeat all that fires, for as long as it is not cancelled.

        Args:
            active: every firing alert and those resolved within ``RESOLVED_SECONDS``, as they are now,
                without the muted ones and those that ``settings.wants`` leaves out. It must not block.
            heard: gets the answer of each round.
        """
        ...
