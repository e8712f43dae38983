"""How many notifications may wait, and what gives way when there is no room.

What is kept for a disabled receiver counts, too. What a replay or the end of a mute puts back comes on top,
and so do the ends that a receiver missed while it was not in the configuration.
"""

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session, aliased

from flyball.history.alert_models import AlertRow, NotificationRow
from flyball.history.alert_records import AlertStatus, Outcome
from flyball.history.outbox_queue import chunks, waiting

_PASSED_OVER = (Outcome.OVERFLOW, Outcome.MUTED, Outcome.SUPERSEDED)

_HELD = (Outcome.WAITING, Outcome.DISABLED)


def depth(session: Session, agent: str) -> int:
    """Return how many notifications wait."""
    return session.scalar(select(func.count()).select_from(NotificationRow).where(waiting(agent))) or 0


class Room:
    """What one transaction may still add.

    Whoever is told that an alert fires must be told that it is over: a firing notification takes the place
    of its resolved one, too, so that what waits never passes the bound.
    """

    def __init__(self, session: Session, agent: str, *, most: int, now: float) -> None:
        self._session, self._agent, self._most, self._now = session, agent, most, now
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
            won = supersede(self._session, self._agent, most=max(1, self._most // 100), now=self._now)
            self._used, self._may_supersede = self._used - won, won > 0
            self.superseded += won
        if self._used + 2 > self._most:
            return False
        self._used += 2
        return True

    def _held(self) -> int:
        own = NotificationRow.agent == self._agent, NotificationRow.outcome.in_(_HELD)
        return self._session.scalar(select(func.count()).select_from(NotificationRow).where(*own)) or 0

    def _promised(self) -> int:
        query = (
            select(func.count())
            .select_from(NotificationRow)
            .join(AlertRow, AlertRow.id == NotificationRow.alert_id)
            .where(
                AlertRow.agent == self._agent,
                AlertRow.status == AlertStatus.FIRING,
                NotificationRow.status == AlertStatus.FIRING,
                NotificationRow.outcome.not_in(_PASSED_OVER),
            )
        )
        return self._session.scalar(query) or 0


def supersede(session: Session, agent: str, *, most: int, now: float) -> int:
    """Take out alerts that fired and resolved and were never tried; return the places won.

    The oldest notification of an alert that waits stays, as it may be on its way.
    """
    fired, resolved = NotificationRow, aliased(NotificationRow)
    pairs = (
        select(fired.id, resolved.id)
        .join(resolved, (resolved.alert_id == fired.alert_id) & (resolved.receiver == fired.receiver))
        .where(
            fired.agent == agent,
            fired.status == AlertStatus.FIRING,
            fired.outcome.in_(_HELD),
            fired.attempts == 0,
            fired.next_time.is_(None),
            resolved.status == AlertStatus.RESOLVED,
            resolved.outcome.in_(_HELD),
        )
        .order_by(fired.id)
        .limit(most)
    )
    found = [each for pair in session.execute(pairs) for each in pair]
    now_superseded = {"outcome": str(Outcome.SUPERSEDED), "finished_time": now}
    for chunk in chunks(found):
        session.execute(
            update(NotificationRow)
            .where(NotificationRow.id.in_(chunk))
            .values(now_superseded)
            .execution_options(synchronize_session=False)
        )
    return len(found)
