"""How many notifications may wait, and what gives way when there is no room.

What is kept for a disabled receiver counts, too. What a replay or the end of a mute puts back comes on top,
and so do the ends that a receiver missed while it was not in the configuration.
"""

from typing import Any

from sqlalchemy import Connection, Select, func, select, update

from flyball.history.alert_records import AlertStatus, Outcome
from flyball.history.alert_tables import ALERTS, NOTIFICATIONS
from flyball.history.outbox_queue import chunks, waiting

_PASSED_OVER = (Outcome.OVERFLOW, Outcome.MUTED, Outcome.SUPERSEDED)

_HELD = (Outcome.WAITING, Outcome.DISABLED)


def depth(agent: str) -> Select[Any]:
    """How many notifications wait; asked for as long as the agent lives, and so made once."""
    return select(func.count()).select_from(NOTIFICATIONS).where(waiting(agent))


class Room:
    """What one transaction may still add.

    Whoever is told that an alert fires must be told that it is over: a firing notification takes the place
    of its resolved one, too, so that what waits never passes the bound.
    """

    def __init__(self, connection: Connection, agent: str, *, most: int, now: float) -> None:
        self._connection, self._agent, self._most, self._now = connection, agent, most, now
        self._may_supersede = True
        self.superseded = 0
        """Notifications that were taken out."""
        # Each open alert will ask for one place more.
        self._used = self._held() + self._promised()

    def take(self, status: str) -> bool:
        """Whether a notification may be added."""
        if status == AlertStatus.RESOLVED:
            # Its place was kept until now: the alert counts as open no more.
            self._used += 1
            return True
        if self._used + 2 > self._most and self._may_supersede:
            won = supersede(self._connection, self._agent, most=max(1, self._most // 100), now=self._now)
            self._used, self._may_supersede = self._used - won, won > 0
            self.superseded += won
        if self._used + 2 > self._most:
            return False
        self._used += 2
        return True

    def _held(self) -> int:
        own = NOTIFICATIONS.c.agent == self._agent, NOTIFICATIONS.c.outcome.in_(_HELD)
        return self._connection.scalar(select(func.count()).select_from(NOTIFICATIONS).where(*own)) or 0

    def _promised(self) -> int:
        query = (
            select(func.count())
            .select_from(NOTIFICATIONS)
            .join(ALERTS, ALERTS.c.id == NOTIFICATIONS.c.alert_id)
            .where(
                ALERTS.c.agent == self._agent,
                ALERTS.c.status == AlertStatus.FIRING,
                NOTIFICATIONS.c.status == AlertStatus.FIRING,
                NOTIFICATIONS.c.outcome.not_in(_PASSED_OVER),
            )
        )
        return self._connection.scalar(query) or 0


def supersede(connection: Connection, agent: str, *, most: int, now: float) -> int:
    """Take out alerts that fired and resolved and were never tried; return the places won.

    The oldest notification of an alert that waits stays, as it may be on its way.
    """
    fired, resolved = NOTIFICATIONS, NOTIFICATIONS.alias()
    pairs = (
        select(fired.c.id, resolved.c.id)
        .join_from(
            fired,
            resolved,
            (resolved.c.alert_id == fired.c.alert_id) & (resolved.c.receiver == fired.c.receiver),
        )
        .where(
            fired.c.agent == agent,
            fired.c.status == AlertStatus.FIRING,
            fired.c.outcome.in_(_HELD),
            fired.c.attempts == 0,
            fired.c.next_time.is_(None),
            resolved.c.status == AlertStatus.RESOLVED,
            resolved.c.outcome.in_(_HELD),
        )
        .order_by(fired.c.id)
        .limit(most)
    )
    found = [each for pair in connection.execute(pairs) for each in pair]
    now_superseded = {"outcome": str(Outcome.SUPERSEDED), "finished_time": now}
    for chunk in chunks(found):
        connection.execute(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id.in_(chunk)).values(now_superseded))
    return len(found)
