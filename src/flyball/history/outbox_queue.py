"""The outbox's order: per receiver and alert only the oldest unfinished notification may be sent."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, and_, func, or_, select, true, update
from sqlalchemy.orm import Session

from flyball.history.alert_models import DeliveryRow, NotificationRow
from flyball.history.alert_records import AlertStatus, Finished, Notification, Outcome
from flyball.history.alert_rows import notification_record

CHUNK = 500
"""Values in one IN: SQLite takes 32,766, and PostgreSQL plans large ones slowly."""
MOST_TRIES = 100
"""Tries kept of one notification; a receiver that is down for weeks must not fill the disk."""
T = TypeVar("T")


def chunks(items: Iterable[T]) -> Iterator[Sequence[T]]:
    """Yield distinct items, so many at a time as one statement takes."""
    known = list(dict.fromkeys(items))
    for start in range(0, len(known), CHUNK):
        yield known[start : start + CHUNK]


def waiting(agent: str, receiver: str | None = None) -> ColumnElement[bool]:
    """What is still to be sent."""
    own = and_(NotificationRow.agent == agent, NotificationRow.outcome == Outcome.WAITING)
    return own if receiver is None else and_(own, NotificationRow.receiver == receiver)


def due(session: Session, agent: str, receiver: str, *, now: float, limit: int) -> tuple[Notification, ...]:
    """Return what may be sent now, the longest due first."""
    # A clock that stands before the moment at which the wait was fixed was set back: the wait means nothing.
    is_time = or_(NotificationRow.next_time <= now, NotificationRow.waits_from > now)
    query = select(NotificationRow).where(
        waiting(agent, receiver), NotificationRow.next_time.is_not(None), is_time
    )
    rows = session.scalars(query.order_by(NotificationRow.next_time, NotificationRow.id).limit(limit)).all()
    told = _told(session, receiver, [row.alert_id for row in rows if row.status == AlertStatus.RESOLVED])
    return tuple(
        notification_record(row, told=row.status != AlertStatus.RESOLVED or row.alert_id in told)
        for row in rows
    )


def _told(session: Session, receiver: str, alert_ids: Sequence[int]) -> set[int]:
    """Return those alerts of which the receiver has heard, or may have, that they fired."""
    heard = or_(NotificationRow.attempts > 0, NotificationRow.outcome == Outcome.DELIVERED)
    query = select(NotificationRow.alert_id).where(
        NotificationRow.receiver == receiver, NotificationRow.status == AlertStatus.FIRING, heard
    )
    return {
        each
        for chunk in chunks(alert_ids)
        for each in session.scalars(query.where(NotificationRow.alert_id.in_(chunk)))
    }


def finish(session: Session, finished: Sequence[Finished], *, now: float) -> None:
    """Write down what became of notifications; one that was superseded meanwhile stays so."""
    rows = {
        row.id: row
        for chunk in chunks(each.notification_id for each in finished)
        for row in session.scalars(select(NotificationRow).where(NotificationRow.id.in_(chunk)))
    }
    freed: dict[tuple[str, str], list[str]] = {}
    for each in finished:
        row = rows.get(each.notification_id)
        if row is not None and row.outcome in (Outcome.WAITING, Outcome.DISABLED):
            _apply(session, row, each, now=now)
            freed.setdefault((row.agent, row.receiver), []).append(row.fingerprint)
    session.flush()
    for (agent, receiver), fingerprints in freed.items():
        promote(session, agent, receiver, fingerprints, now=now)


def _apply(session: Session, row: NotificationRow, finished: Finished, *, now: float) -> None:
    if finished.delivery is not None:
        row.attempts += 1
        _add_delivery(session, row, finished)
    if finished.outcome == Outcome.WAITING:
        # Where the receiver was disabled while this one was under way, it keeps waiting there.
        if row.outcome == Outcome.WAITING:
            row.next_time, row.waits_from = finished.next_time or now, now
    else:
        row.outcome, row.next_time, row.finished_time = str(finished.outcome), None, now


def _add_delivery(session: Session, row: NotificationRow, finished: Finished) -> None:
    tried = finished.delivery
    assert tried is not None
    if row.attempts > MOST_TRIES:
        own = select(DeliveryRow).where(DeliveryRow.notification_id == row.id)
        for old in session.scalars(own.order_by(DeliveryRow.id.desc()).offset(MOST_TRIES - 1)):
            session.delete(old)
    session.add(
        DeliveryRow(
            notification_id=row.id,
            time=tried.time,
            seconds=tried.seconds,
            outcome=tried.outcome,
            status=tried.status,
            detail=tried.detail,
        )
    )


def promote(
    session: Session, agent: str, receiver: str, fingerprints: Iterable[str] | None, *, now: float
) -> None:
    """Let the oldest waiting notification of each alert be sent; None for all alerts."""
    if fingerprints is None:
        _promote(session, agent, receiver, true(), now=now)
        return
    for chunk in chunks(fingerprints):
        _promote(session, agent, receiver, NotificationRow.fingerprint.in_(chunk), now=now)


def _promote(session: Session, agent: str, receiver: str, which: ColumnElement[bool], *, now: float) -> None:
    mine = waiting(agent, receiver), which
    # Two statements: as one, PostgreSQL's planner picks a bad plan for a table that it has not analyzed yet.
    oldest = select(func.min(NotificationRow.id)).where(*mine).group_by(NotificationRow.fingerprint)
    for chunk in chunks(session.scalars(oldest)):
        session.execute(
            update(NotificationRow)
            .where(NotificationRow.id.in_(chunk), NotificationRow.next_time.is_(None))
            .values(next_time=now, waits_from=now)
            .execution_options(synchronize_session=False)
        )


def put_back(session: Session, rows: Sequence[NotificationRow], *, now: float) -> None:
    """Let finished notifications be sent again, before the later ones of the same alert."""
    for row in rows:
        row.outcome, row.finished_time, row.next_time = str(Outcome.WAITING), None, None
    session.flush()
    for agent, receiver in {(row.agent, row.receiver) for row in rows}:
        touched = [row.fingerprint for row in rows if (row.agent, row.receiver) == (agent, receiver)]
        for chunk in chunks(touched):
            later = waiting(agent, receiver), NotificationRow.fingerprint.in_(chunk)
            session.execute(
                update(NotificationRow)
                .where(*later)
                .values(next_time=None)
                .execution_options(synchronize_session=False)
            )
        promote(session, agent, receiver, touched, now=now)
