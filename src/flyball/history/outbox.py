"""What is to be told of alerts, to whom, and what came of it: at least once, and in order for each alert."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import aliased

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.history import outbox_queue, outbox_room
from flyball.history.agent_name import agent_name
from flyball.history.alert_models import AlertRow, NotificationRow, ReceiverRow
from flyball.history.alert_records import (
    Alert,
    AlertStatus,
    DisabledReceiver,
    Finished,
    Mute,
    Notification,
    Outcome,
)
from flyball.history.alert_rows import alert_record
from flyball.history.outbox_queue import waiting


class Outbox:
    """The notifications of one agent; ``AlertLog.record`` adds to them. Each method is one transaction.

    Every one raises StorageFailed when the database gives out; nothing of the transaction is kept then.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None, agent: str | None = None) -> None:
        """Take an open database; ``agent`` as for ``AlertLog``."""
        self._database = database
        self._clock = clock or SystemClock()
        self._agent = agent_name(database, agent)

    def due(self, receiver: str, now: float, limit: int) -> tuple[Notification, ...]:
        """Return what may be sent now: of each alert only the oldest that is not finished."""
        with self._database.reading() as session:
            return outbox_queue.due(session, self._agent, receiver, now=now, limit=limit)

    def next_due(self, receiver: str, after: float) -> float | None:
        """Return the earliest time past ``after`` at which something may be sent, or None."""
        later = waiting(self._agent, receiver), NotificationRow.next_time > after
        with self._database.reading() as session:
            return session.scalar(select(func.min(NotificationRow.next_time)).where(*later))

    def finish(self, finished: Sequence[Finished]) -> None:
        """Write down what became of notifications, and let the next of each alert follow."""
        with self._database.writing() as session:
            outbox_queue.finish(session, finished, now=self._clock.time())

    def hasten(self, receiver: str) -> None:
        """Make all that waits for its next try due now: the receiver answers again."""
        now = self._clock.time()
        late = waiting(self._agent, receiver), NotificationRow.next_time.is_not(None)
        with self._database.writing() as session:
            session.execute(update(NotificationRow).where(*late).values(next_time=now, waits_from=now))

    def depth(self) -> int:
        """Return how many notifications wait, of all receivers."""
        with self._database.reading() as session:
            return outbox_room.depth(session, self._agent)

    def receivers(self) -> tuple[str, ...]:
        """Return the receivers that something was ever for, as far back as alerts are kept."""
        query = select(NotificationRow.receiver).where(NotificationRow.agent == self._agent).distinct()
        with self._database.reading() as session:
            return tuple(sorted(session.scalars(query)))

    def requeue(self, alert_id: int, *, receiver: str | None = None) -> int:
        """Send an alert's finished notifications again, with the same webhook-id; return how many."""
        query = select(NotificationRow).where(
            NotificationRow.alert_id == alert_id,
            NotificationRow.outcome.not_in((Outcome.WAITING, Outcome.DISABLED)),
        )
        if receiver is not None:
            query = query.where(NotificationRow.receiver == receiver)
        with self._database.writing() as session:
            rows = session.scalars(query.order_by(NotificationRow.id)).all()
            outbox_queue.put_back(session, rows, now=self._clock.time())
            return len(rows)

    def unmute(self, mutes: Sequence[Mute]) -> int:
        """Let firing alerts that were muted, and are so by none of ``mutes``, be told after all."""
        query = (
            select(NotificationRow)
            .join(AlertRow, AlertRow.id == NotificationRow.alert_id)
            .where(
                AlertRow.agent == self._agent,
                AlertRow.status == AlertStatus.FIRING,
                NotificationRow.outcome == Outcome.MUTED,
            )
        )
        with self._database.writing() as session:
            muted = session.scalars(query.order_by(NotificationRow.id)).all()
            rows = [row for row in muted if not any(each.matches(row.document["labels"]) for each in mutes)]
            outbox_queue.put_back(session, rows, now=self._clock.time())
            return len(rows)

    def disable(self, receiver: str, reason: str) -> None:
        """Send a receiver no more; what waits for it is kept, and so is what comes.

        Of one that is disabled already, time and reason stay.
        """
        row = ReceiverRow(agent=self._agent, name=receiver, disabled_time=self._clock.time(), reason=reason)
        with self._database.writing() as session:
            if session.get(ReceiverRow, (self._agent, receiver)) is None:
                session.add(row)
            kept = {"outcome": str(Outcome.DISABLED), "next_time": None}
            session.execute(update(NotificationRow).where(waiting(self._agent, receiver)).values(kept))

    def enable(self, receiver: str) -> float | None:
        """Send to a receiver again, what was kept first; return since when it was disabled, None if never."""
        own = ReceiverRow.agent == self._agent, ReceiverRow.name == receiver
        kept = (
            NotificationRow.agent == self._agent,
            NotificationRow.receiver == receiver,
            NotificationRow.outcome == Outcome.DISABLED,
        )
        with self._database.writing() as session:
            found = session.scalar(delete(ReceiverRow).where(*own).returning(ReceiverRow.disabled_time))
            if found is not None:
                back = {"outcome": str(Outcome.WAITING), "next_time": None}
                session.execute(update(NotificationRow).where(*kept).values(back))
                outbox_queue.promote(session, self._agent, receiver, None, now=self._clock.time())
            return found

    def ends_unheard(self, receiver: str, since: float) -> tuple[Alert, ...]:
        """Return the alerts that ended since a time, of which a receiver was told only that they fire."""
        fired, over = NotificationRow, aliased(NotificationRow)
        query = (
            select(AlertRow)
            .join(fired, (fired.alert_id == AlertRow.id) & (fired.receiver == receiver))
            .outerjoin(
                over,
                (over.alert_id == AlertRow.id)
                & (over.receiver == receiver)
                & (over.status == AlertStatus.RESOLVED),
            )
            .where(
                AlertRow.agent == self._agent,
                AlertRow.status == AlertStatus.RESOLVED,
                AlertRow.changed_time >= since,
                fired.status == AlertStatus.FIRING,
                fired.outcome != Outcome.OVERFLOW,
                over.id.is_(None),
            )
        )
        with self._database.reading() as session:
            return tuple(alert_record(row) for row in session.scalars(query.order_by(AlertRow.id)))

    def disabled(self) -> tuple[DisabledReceiver, ...]:
        """Return the receivers that get nothing, by name."""
        own = select(ReceiverRow).where(ReceiverRow.agent == self._agent).order_by(ReceiverRow.name)
        with self._database.reading() as session:
            return tuple(
                DisabledReceiver(name=row.name, disabled_time=row.disabled_time, reason=row.reason)
                for row in session.scalars(own)
            )
