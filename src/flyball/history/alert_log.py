"""The alerts of an agent: a change and the notifications that it brings are one transaction."""

from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, or_, select

from flyball.clock import Clock, SystemClock
from flyball.database import Transactions
from flyball.history import alert_recording
from flyball.history.agent_name import agent_name
from flyball.history.alert_records import (
    Alert,
    AlertHistory,
    AlertStatus,
    Delivery,
    LoggedAlert,
    Notification,
    Outcome,
    Recorded,
    Transition,
)
from flyball.history.alert_rows import alert_record, delivery_record, logged_alert, notification_record
from flyball.history.alert_tables import AGENTS, ALERTS, DELIVERIES, NOTIFICATIONS
from flyball.history.inserting import insert_into

MAX_WAITING = 100_000
RETENTION_SECONDS = 30 * 86400.0
DROPPED_SECONDS = 86400.0
"""An alert that never fired is kept for a day."""
PRUNE_STEP = 500
_OPEN = (AlertStatus.PENDING, AlertStatus.FIRING)


class AlertLog:
    """The alerts of one agent; ``Outbox`` has what is told of them. Each method is one transaction.

    Every one raises StorageFailed when the database gives out; nothing of the transaction is kept then.
    """

    def __init__(
        self,
        database: Transactions,
        *,
        clock: Clock | None = None,
        agent: str | None = None,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Take an open database.

        Args:
            database: which agents of several hosts may share.
            clock: seconds since the epoch.
            agent: whose alerts these are; None for the only one of a SQLite file, or else this host's name.
            max_waiting: the most notifications that wait, of all receivers.
        """
        self._database = database
        self._clock = clock or SystemClock()
        self._agent = agent_name(database, agent)
        self._max_waiting = max_waiting
        # Written every few seconds for as long as the agent lives, and so made once.
        beat = insert_into(database.dialect, AGENTS)
        newer = {"evaluated_time": beat.excluded.evaluated_time}
        self._beating = beat.on_conflict_do_update(index_elements=["agent"], set_=newer)

    def record(
        self,
        transitions: Sequence[Transition],
        notifications: Sequence[Notification] = (),
        *,
        evaluated_time: float | None = None,
    ) -> Recorded:
        """Write what changed and what is to be told of it, all or nothing; a second time changes nothing.

        Args:
            transitions: in the order in which they happened.
            notifications: of these alerts, new ones; how many may wait is bounded (see ``outbox_room``).
            evaluated_time: of the evaluation that they came from; None leaves the heartbeat as it was.
        """
        now = self._clock.time()
        with self._database.changing() as connection:
            recorded = alert_recording.record(
                connection, self._agent, transitions, notifications, now=now, max_waiting=self._max_waiting
            )
            if evaluated_time is not None:
                self._beat(connection, evaluated_time)
            return recorded

    def open_alerts(self) -> tuple[Alert, ...]:
        """Return the pending and firing alerts of this agent, for the engine to go on with."""
        own = select(ALERTS).where(ALERTS.c.agent == self._agent, ALERTS.c.status.in_(_OPEN))
        with self._database.querying() as connection:
            return tuple(alert_record(row) for row in connection.execute(own.order_by(ALERTS.c.id)))

    def heartbeat(self, time: float) -> None:
        """Remember when the rules were last evaluated."""
        with self._database.changing() as connection:
            self._beat(connection, time)

    def last_heartbeat(self) -> float | None:
        """Return when the rules were last evaluated; None before the first time."""
        with self._database.querying() as connection:
            return connection.scalar(select(AGENTS.c.evaluated_time).where(AGENTS.c.agent == self._agent))

    def _beat(self, connection: Connection, time: float) -> None:
        connection.execute(self._beating, {"agent": self._agent, "evaluated_time": time})

    def alerts(
        self,
        *,
        status: AlertStatus | None = None,
        rule: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> tuple[LoggedAlert, ...]:
        """Return alerts, of all agents, the newest change first."""
        query = select(ALERTS).order_by(ALERTS.c.changed_time.desc(), ALERTS.c.id.desc()).limit(limit)
        if status is not None:
            query = query.where(ALERTS.c.status == status)
        if rule is not None:
            query = query.where(ALERTS.c.rule == rule)
        if since is not None:
            query = query.where(ALERTS.c.changed_time >= since)
        with self._database.querying() as connection:
            return tuple(logged_alert(row) for row in connection.execute(query))

    def show(self, key: str) -> AlertHistory | None:
        """Return an alert by its number, or the newest of a fingerprint; None where there is none."""
        newest = select(ALERTS).order_by(ALERTS.c.active_time.desc(), ALERTS.c.id.desc()).limit(1)
        # A fingerprint has 16 digits, and may have no letter among them.
        short = key.isascii() and key.isdigit() and len(key) < 16
        query = newest.where(ALERTS.c.id == int(key) if short else ALERTS.c.fingerprint == key)
        with self._database.querying() as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            return AlertHistory(
                id=row.id, agent=row.agent, alert=alert_record(row), notifications=_told(connection, row.id)
            )

    def prune(self) -> int:
        """Delete some alerts that ended long ago, with all that was told of them; return how many.

        A small step at a time, so that nobody waits for it; 0 when there is no more to delete.
        """
        now = self._clock.time()
        dropped = and_(ALERTS.c.status == AlertStatus.DROPPED, ALERTS.c.changed_time < now - DROPPED_SECONDS)
        ended = and_(ALERTS.c.status == AlertStatus.RESOLVED, ALERTS.c.changed_time < now - RETENTION_SECONDS)
        unsent = select(NOTIFICATIONS.c.alert_id).where(NOTIFICATIONS.c.outcome == Outcome.WAITING)
        old = select(ALERTS.c.id).where(
            ALERTS.c.agent == self._agent, or_(dropped, ended), ALERTS.c.id.not_in(unsent)
        )
        with self._database.changing() as connection:
            found = connection.scalars(old.order_by(ALERTS.c.changed_time).limit(PRUNE_STEP)).all()
            connection.execute(delete(ALERTS).where(ALERTS.c.id.in_(found)))
            return len(found)


def _told(connection: Connection, alert_id: int) -> tuple[tuple[Notification, tuple[Delivery, ...]], ...]:
    own = select(NOTIFICATIONS).where(NOTIFICATIONS.c.alert_id == alert_id).order_by(NOTIFICATIONS.c.id)
    tries = (
        select(DELIVERIES)
        .join(NOTIFICATIONS, NOTIFICATIONS.c.id == DELIVERIES.c.notification_id)
        .where(NOTIFICATIONS.c.alert_id == alert_id)
        .order_by(DELIVERIES.c.id)
    )
    made: dict[int, list[Delivery]] = {}
    for row in connection.execute(tries):
        made.setdefault(row.notification_id, []).append(delivery_record(row))
    return tuple((notification_record(row), tuple(made.get(row.id, ()))) for row in connection.execute(own))
