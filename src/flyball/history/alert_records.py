"""Alerts and notifications as plain records: what the engine makes, the database keeps and receivers send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class AlertStatus(StrEnum):
    """Where an alert stands.

    pending -> firing, dropped;  firing -> resolved. An alert that comes back is a new one with a new
    ``active_time``.
    """

    PENDING = "pending"
    """The condition holds, and has not yet for as long as ``for`` says."""
    FIRING = "firing"
    RESOLVED = "resolved"
    DROPPED = "dropped"
    """The condition ended before it fired; nobody hears of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Alert:
    """One alert at one time. ``(fingerprint, active_time)`` names it for as long as it lives.

    All times are seconds since the epoch.
    """

    rule: str
    """The rule's ``alert``; also the label ``alertname``."""
    labels: Mapping[str, str]
    """The series' labels, the rule's, ``alertname`` and ``severity``."""
    fingerprint: str
    """Of ``labels``, 16 hexadecimal digits, as Prometheus and Alertmanager work it out."""
    annotations: Mapping[str, str]
    """With the templates filled in."""
    suggests: tuple[str, ...] = ()
    """Knobs that the tuner should try first."""
    status: AlertStatus
    value: float
    """Of the rule's expression when it was last true."""
    active_time: float
    """When the condition began to hold (Alertmanager's startsAt)."""
    fired_time: float | None = None
    quiet_time: float | None = None
    """When the condition ended, while ``keep_firing_for`` keeps the alert firing."""
    resolved_time: float | None = None

    @property
    def severity(self) -> str:
        """``info``, ``warning`` or ``critical``."""
        return self.labels.get("severity", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Transition:
    """An alert changed its status; ``alert`` is as it is after."""

    alert: Alert
    time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Mute:
    """Alerts whose labels match are recorded and not sent."""

    id: int = 0
    matchers: Mapping[str, str]
    """Label to value; all must be equal."""
    created_time: float
    until_time: float | None
    """None for as long as it stands."""
    comment: str = ""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an alert with these labels is muted."""
        return all(labels.get(name, "") == value for name, value in self.matchers.items())


class Outcome(StrEnum):
    """What became of a notification."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    MUTED = "muted"
    """Held back by a mute; sent when that ends while the alert still fires."""
    UNTOLD = "untold"
    """Resolved, and the receiver never heard that it fired."""
    SUPERSEDED = "superseded"
    """Fired and resolved long since: taken out to make room."""
    OVERFLOW = "overflow"
    """There was no room."""
    DISABLED = "disabled"
    """Kept until the receiver, which answered 410, is enabled again."""
    GIVEN_UP = "given_up"
    """Older than the receiver's ``give_up_after_seconds``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notification:
    """One transition of one alert on its way to one receiver."""

    id: int = 0
    webhook_id: str
    """The same on every try."""
    receiver: str
    alert: Alert
    """As it was when it changed: ``firing`` or ``resolved``."""
    created_time: float
    attempts: int = 0
    next_time: float = 0.0
    """Not before this time."""
    outcome: str = "waiting"
    """One of ``Outcome``."""
    finished_time: float | None = None
    told: bool = True
    """Of a resolved alert: whether the receiver has heard that it fired."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Delivery:
    """One try to deliver a notification."""

    time: float
    seconds: float
    outcome: str
    """``delivered``, ``retry``, ``refused`` or ``gone``."""
    status: int | None = None
    """HTTP's, where there was an answer."""
    detail: str = ""
    """In the sender's words, without secrets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What a try, or the decision not to make one, came to."""

    webhook_id: str
    """Of the notification; its number is another when the database has to be begun anew."""
    outcome: Outcome
    """``WAITING`` to try again at ``next_time``."""
    delivery: Delivery | None = None
    """None where nothing was sent."""
    next_time: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """What recording did to the outbox."""

    added: int = 0
    overflow: int = 0
    """Of them, those that found no room."""
    superseded: int = 0
    """Taken out to make room."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedAlert:
    """An alert as the database has it."""

    id: int
    agent: str
    """Whose rules raised it: agents of several hosts may share a database."""
    alert: Alert
    changed_time: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DisabledReceiver:
    """A receiver that answered 410, Gone."""

    name: str
    disabled_time: float
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TuningRequest:
    """A run that an alert says should be tuned."""

    id: int = 0
    created_time: float
    fingerprint: str
    active_time: float
    """Which alert asks: see ``Alert``."""
    rule: str
    run: str
    document: Mapping[str, Any]
    """The run's command, config and telemetry, as JSON."""
    taken_time: float | None = None
    """When autotune began with it; None while it is open."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AlertHistory:
    """An alert with everything that was done about it."""

    id: int = 0
    agent: str = ""
    alert: Alert
    notifications: tuple[tuple[Notification, tuple[Delivery, ...]], ...] = field(default=())
