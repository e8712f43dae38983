"""What is to be told of alerts, to whom, and what came of it: at least once, and in order for each alert."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update

from flyball.clock import Clock, SystemClock
from flyball.database import Transactions
from flyball.history import outbox_queue, outbox_room
from flyball.history.agent_name import agent_name
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
from flyball.history.alert_tables import ALERTS, NOTIFICATIONS, RECEIVERS
from flyball.history.inserting import insert_into
from flyball.history.outbox_queue import PLACE, waiting


class Outbox:
    """The notifications of one agent; ``AlertLog.record`` adds to them. Each method is one transaction.

    Every one raises StorageFailed when the database gives out; nothing of the transaction is kept then.
    """

    def __init__(
        self, database: Transactions, *, clock: Clock | None = None, agent: str | None = None
    ) -> None:
        """Take an open database; ``agent`` as for ``AlertLog``."""
        self._database = database
        self._clock = clock or SystemClock()
        self._agent = agent_name(database, agent)
        self._depth = outbox_room.depth(self._agent)

    def due(self, receiver: str, now: float, limit: int) -> tuple[Notification, ...]:
        """Return what may be sent now: of each alert only the oldest that is not finished."""
        with self._database.querying() as connection:
            return outbox_queue.due(connection, self._agent, receiver, now=now, limit=limit)

    def next_due(self, receiver: str, after: float) -> float | None:
        """Return the earliest time past ``after`` at which something may be sent, or None."""
        later = waiting(self._agent, receiver), NOTIFICATIONS.c.next_time > after
        with self._database.querying() as connection:
            earliest: float | None = connection.scalar(
                select(func.min(NOTIFICATIONS.c.next_time)).where(*later)
            )
            return earliest

    def finish(self, finished: Sequence[Finished]) -> None:
        """Write down what became of notifications, and let the next of each alert follow."""
        with self._database.changing() as connection:
            outbox_queue.finish(connection, finished, now=self._clock.time())

    def hasten(self, receiver: str) -> None:
        """Make all that waits for its next try due now: the receiver answers again."""
        now = self._clock.time()
        late = waiting(self._agent, receiver), NOTIFICATIONS.c.next_time.is_not(None)
        with self._database.changing() as connection:
            connection.execute(update(NOTIFICATIONS).where(*late).values(next_time=now, waits_from=now))

    def depth(self) -> int:
        """Return how many notifications wait, of all receivers."""
        with self._database.querying() as connection:
            return connection.scalar(self._depth) or 0

    def receivers(self) -> tuple[str, ...]:
        """Return the receivers that something was ever for, as far back as alerts are kept."""
        query = select(NOTIFICATIONS.c.receiver).where(NOTIFICATIONS.c.agent == self._agent).distinct()
        with self._database.querying() as connection:
            return tuple(sorted(connection.scalars(query)))

    def requeue(self, alert_id: int, *, receiver: str | None = None) -> int:
        """Send an alert's finished notifications again, with the same webhook-id; return how many."""
        query = select(*PLACE).where(
            NOTIFICATIONS.c.alert_id == alert_id,
            NOTIFICATIONS.c.outcome.not_in((Outcome.WAITING, Outcome.DISABLED)),
        )
        if receiver is not None:
            query = query.where(NOTIFICATIONS.c.receiver == receiver)
        with self._database.changing() as connection:
            rows = connection.execute(query.order_by(NOTIFICATIONS.c.id)).all()
            outbox_queue.put_back(connection, rows, now=self._clock.time())
            return len(rows)

    def unmute(self, mutes: Sequence[Mute]) -> int:
        """Let firing alerts that were muted, and are so by none of ``mutes``, be told after all."""
        query = (
            select(*PLACE, NOTIFICATIONS.c.document)
            .join(ALERTS, ALERTS.c.id == NOTIFICATIONS.c.alert_id)
            .where(
                ALERTS.c.agent == self._agent,
                ALERTS.c.status == AlertStatus.FIRING,
                NOTIFICATIONS.c.outcome == Outcome.MUTED,
            )
        )
        with self._database.changing() as connection:
            muted = connection.execute(query.order_by(NOTIFICATIONS.c.id)).all()
            rows = [row for row in muted if not any(each.matches(row.document["labels"]) for each in mutes)]
            outbox_queue.put_back(connection, rows, now=self._clock.time())
            return len(rows)

    def disable(self, receiver: str, reason: str) -> None:
        """Send a receiver no more; what waits for it is kept, and so is what comes.

        Of one that is disabled already, time and reason stay.
        """
        own = {"agent": self._agent, "name": receiver}
        row = {**own, "disabled_time": self._clock.time(), "reason": reason}
        with self._database.changing() as connection:
            adding = insert_into(connection.dialect, RECEIVERS).values(row)
            connection.execute(adding.on_conflict_do_nothing(index_elements=list(own)))
            kept = {"outcome": str(Outcome.DISABLED), "next_time": None}
            connection.execute(update(NOTIFICATIONS).where(waiting(self._agent, receiver)).values(kept))

    def enable(self, receiver: str) -> float | None:
        """Send to a receiver again, what was kept first; return since when it was disabled, None if never."""
        own = RECEIVERS.c.agent == self._agent, RECEIVERS.c.name == receiver
        kept = (
            NOTIFICATIONS.c.agent == self._agent,
            NOTIFICATIONS.c.receiver == receiver,
            NOTIFICATIONS.c.outcome == Outcome.DISABLED,
        )
        with self._database.changing() as connection:
            found = connection.scalar(delete(RECEIVERS).where(*own).returning(RECEIVERS.c.disabled_time))
            if found is not None:
                back = {"outcome": str(Outcome.WAITING), "next_time": None}
                connection.execute(update(NOTIFICATIONS).where(*kept).values(back))
                outbox_queue.promote(connection, self._agent, receiver, None, now=self._clock.time())
            return found

    def ends_unheard(self, receiver: str, since: float) -> tuple[Alert, ...]:
        """Return the alerts that ended since a time, of which a receiver was told only that they fire."""
        fired, over = NOTIFICATIONS, NOTIFICATIONS.alias()
        query = (
            select(ALERTS)
            .join(fired, (fired.c.alert_id == ALERTS.c.id) & (fired.c.receiver == receiver))
            .outerjoin(
                over,
                (over.c.alert_id == ALERTS.c.id)
                & (over.c.receiver == receiver)
                & (over.c.status == AlertStatus.RESOLVED),
            )
            .where(
                ALERTS.c.agent == self._agent,
                ALERTS.c.status == AlertStatus.RESOLVED,
                ALERTS.c.changed_time >= since,
                fired.c.status == AlertStatus.FIRING,
                fired.c.outcome != Outcome.OVERFLOW,
                over.c.id.is_(None),
            )
        )
        with self._database.querying() as connection:
            return tuple(alert_record(row) for row in connection.execute(query.order_by(ALERTS.c.id)))

    def disabled(self) -> tuple[DisabledReceiver, ...]:
        """Return the receivers that get nothing, by name."""
        own = select(RECEIVERS).where(RECEIVERS.c.agent == self._agent).order_by(RECEIVERS.c.name)
        with self._database.querying() as connection:
            return tuple(
                DisabledReceiver(name=row.name, disabled_time=row.disabled_time, reason=row.reason)
                for row in connection.execute(own)
            )
