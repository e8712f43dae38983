"""The alerts of an agent: a change and the notifications that it brings are one transaction."""

from collections.abc import Sequence

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.history import alert_recording
from flyball.history.agent_name import agent_name
from flyball.history.alert_models import AgentRow, AlertRow, DeliveryRow, NotificationRow
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
        database: Database,
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
        with self._database.writing() as session:
            recorded = alert_recording.record(
                session, self._agent, transitions, notifications, now=now, max_waiting=self._max_waiting
            )
            if evaluated_time is not None:
                self._beat(session, evaluated_time)
            return recorded

    def open_alerts(self) -> tuple[Alert, ...]:
        """Return the pending and firing alerts of this agent, for the engine to go on with."""
        own = select(AlertRow).where(AlertRow.agent == self._agent, AlertRow.status.in_(_OPEN))
        with self._database.reading() as session:
            return tuple(alert_record(row) for row in session.scalars(own.order_by(AlertRow.id)))

    def heartbeat(self, time: float) -> None:
        """Remember when the rules were last evaluated."""
        with self._database.writing() as session:
            self._beat(session, time)

    def last_heartbeat(self) -> float | None:
        """Return when the rules were last evaluated; None before the first time."""
        with self._database.reading() as session:
            row = session.get(AgentRow, self._agent)
            return row.evaluated_time if row else None

    def _beat(self, session: Session, time: float) -> None:
        # Not session.merge: this is written every few seconds, and the ORM's way takes twice as long.
        beat = {"agent": self._agent, "evaluated_time": time}
        insert = insert_into(session, AgentRow).values(**beat)
        session.execute(insert.on_conflict_do_update(index_elements=["agent"], set_=beat))

    def alerts(
        self,
        *,
        status: AlertStatus | None = None,
        rule: str | None = None,
        since: float | None = None,
        limit: int | None = None,
    ) -> tuple[LoggedAlert, ...]:
        """Return alerts, of all agents, the newest change first."""
        query = select(AlertRow).order_by(AlertRow.changed_time.desc(), AlertRow.id.desc()).limit(limit)
        if status is not None:
            query = query.where(AlertRow.status == status)
        if rule is not None:
            query = query.where(AlertRow.rule == rule)
        if since is not None:
            query = query.where(AlertRow.changed_time >= since)
        with self._database.reading() as session:
            return tuple(logged_alert(row) for row in session.scalars(query))

    def show(self, key: str) -> AlertHistory | None:
        """Return an alert by its number, or the newest of a fingerprint; None where there is none."""
        newest = select(AlertRow).order_by(AlertRow.active_time.desc(), AlertRow.id.desc()).limit(1)
        # A fingerprint has 16 digits, and may have no letter among them.
        short = key.isascii() and key.isdigit() and len(key) < 16
        query = newest.where(AlertRow.id == int(key) if short else AlertRow.fingerprint == key)
        with self._database.reading() as session:
            row = session.scalars(query).first()
            if row is None:
                return None
            return AlertHistory(
                id=row.id, agent=row.agent, alert=alert_record(row), notifications=_told(session, row.id)
            )

    def prune(self) -> int:
        """Delete some alerts that ended long ago, with all that was told of them; return how many.

        A small step at a time, so that nobody waits for it; 0 when there is no more to delete.
        """
        now = self._clock.time()
        dropped = and_(AlertRow.status == AlertStatus.DROPPED, AlertRow.changed_time < now - DROPPED_SECONDS)
        ended = and_(AlertRow.status == AlertStatus.RESOLVED, AlertRow.changed_time < now - RETENTION_SECONDS)
        unsent = select(NotificationRow.alert_id).where(NotificationRow.outcome == Outcome.WAITING)
        old = select(AlertRow.id).where(
            AlertRow.agent == self._agent, or_(dropped, ended), AlertRow.id.not_in(unsent)
        )
        with self._database.writing() as session:
            found = session.scalars(old.order_by(AlertRow.changed_time).limit(PRUNE_STEP)).all()
            session.execute(delete(AlertRow).where(AlertRow.id.in_(found)))
            return len(found)


def _told(session: Session, alert_id: int) -> tuple[tuple[Notification, tuple[Delivery, ...]], ...]:
    own = select(NotificationRow).where(NotificationRow.alert_id == alert_id).order_by(NotificationRow.id)
    tries = (
        select(DeliveryRow)
        .join(NotificationRow, NotificationRow.id == DeliveryRow.notification_id)
        .where(NotificationRow.alert_id == alert_id)
        .order_by(DeliveryRow.id)
    )
    made: dict[int, list[Delivery]] = {}
    for row in session.scalars(tries):
        made.setdefault(row.notification_id, []).append(delivery_record(row))
    return tuple((notification_record(row), tuple(made.get(row.id, ()))) for row in session.scalars(own))
