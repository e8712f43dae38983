"""Alerts and notifications as plain records: what the engine makes, the database keeps and receivers send."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


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
    """``waiting``, ``delivered``, ``muted``, ``refused``, ``superseded``, ``disabled``, ``overflow``."""
    finished_time: float | None = None


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
class AlertHistory:
    """An alert with everything that was done about it."""

    alert: Alert
    notifications: tuple[tuple[Notification, tuple[Delivery, ...]], ...] = field(default=())
