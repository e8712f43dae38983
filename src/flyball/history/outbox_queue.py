"""The outbox's order: per receiver and alert only the oldest unfinished notification may be sent."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    true,
    update,
)

from flyball.history.alert_records import AlertStatus, Delivery, Finished, Notification, Outcome
from flyball.history.alert_rows import notification_record
from flyball.history.alert_tables import DELIVERIES, NOTIFICATIONS

CHUNK = 500
"""Values in one IN: SQLite takes 32,766, and PostgreSQL plans large ones slowly."""
MOST_TRIES = 100
"""Tries kept of one notification; a receiver that is down for weeks must not fill the disk."""
PLACE = tuple(NOTIFICATIONS.c[name] for name in ("id", "agent", "receiver", "fingerprint"))
"""Where a notification stands: what ``put_back`` must know of it."""
_STATE = tuple(
    NOTIFICATIONS.c[name] for name in ("attempts", "waits_from", "next_time", "outcome", "finished_time")
)
"""What a try changes."""
_STANDING = select(NOTIFICATIONS.c.webhook_id, *PLACE, *_STATE)
T = TypeVar("T")


def chunks(items: Iterable[T]) -> Iterator[Sequence[T]]:
    """Yield distinct items, so many at a time as one statement takes."""
    known = list(dict.fromkeys(items))
    for start in range(0, len(known), CHUNK):
        yield known[start : start + CHUNK]


def waiting(agent: str, receiver: str | None = None) -> ColumnElement[bool]:
    """What is still to be sent."""
    own = and_(NOTIFICATIONS.c.agent == agent, NOTIFICATIONS.c.outcome == Outcome.WAITING)
    return own if receiver is None else and_(own, NOTIFICATIONS.c.receiver == receiver)


def due(
    connection: Connection, agent: str, receiver: str, *, now: float, limit: int
) -> tuple[Notification, ...]:
    """Return what may be sent now, the longest due first."""
    # A clock that stands before the moment at which the wait was fixed was set back: the wait means nothing.
    is_time = or_(NOTIFICATIONS.c.next_time <= now, NOTIFICATIONS.c.waits_from > now)
    query = select(NOTIFICATIONS).where(
        waiting(agent, receiver), NOTIFICATIONS.c.next_time.is_not(None), is_time
    )
    rows = connection.execute(
        query.order_by(NOTIFICATIONS.c.next_time, NOTIFICATIONS.c.id).limit(limit)
    ).all()
    told = _told(connection, receiver, [row.alert_id for row in rows if row.status == AlertStatus.RESOLVED])
    return tuple(
        notification_record(row, told=row.status != AlertStatus.RESOLVED or row.alert_id in told)
        for row in rows
    )


def _told(connection: Connection, receiver: str, alert_ids: Sequence[int]) -> set[int]:
    """Return those alerts of which the receiver has heard, or may have, that they fired."""
    heard = or_(NOTIFICATIONS.c.attempts > 0, NOTIFICATIONS.c.outcome == Outcome.DELIVERED)
    query = select(NOTIFICATIONS.c.alert_id).where(
        NOTIFICATIONS.c.receiver == receiver, NOTIFICATIONS.c.status == AlertStatus.FIRING, heard
    )
    return {
        each
        for chunk in chunks(alert_ids)
        for each in connection.scalars(query.where(NOTIFICATIONS.c.alert_id.in_(chunk)))
    }


def finish(connection: Connection, finished: Sequence[Finished], *, now: float) -> None:
    """Write down what became of notifications; one that was superseded meanwhile stays so."""
    known = {
        row.webhook_id: row
        for chunk in chunks(each.webhook_id for each in finished)
        for row in connection.execute(_STANDING.where(NOTIFICATIONS.c.webhook_id.in_(chunk)))
    }
    places = {row.id: row for row in known.values()}
    states = {number: {each.name: row._mapping[each] for each in _STATE} for number, row in places.items()}
    touched: dict[int, dict[str, Any]] = {}
    tries: list[dict[str, Any]] = []
    for each in finished:
        row = known.get(each.webhook_id)
        if row is None:
            continue
        number, state = row.id, states[row.id]
        if state["outcome"] not in (Outcome.WAITING, Outcome.DISABLED):
            continue
        if each.delivery is not None:
            state["attempts"] += 1
            tries.append(_try(number, each.delivery))
        _move(state, each, now=now)
        touched[number] = state
    _write(connection, touched, tries)
    freed: dict[tuple[str, str], list[str]] = {}
    for number in touched:
        row = places[number]
        freed.setdefault((row.agent, row.receiver), []).append(row.fingerprint)
    for (agent, receiver), fingerprints in freed.items():
        promote(connection, agent, receiver, fingerprints, now=now)


def _move(state: dict[str, Any], finished: Finished, *, now: float) -> None:
    if finished.outcome != Outcome.WAITING:
        state.update(outcome=str(finished.outcome), next_time=None, finished_time=now)
    # Where the receiver was disabled while this one was under way, it keeps waiting there.
    elif state["outcome"] == Outcome.WAITING:
        state.update(next_time=finished.next_time or now, waits_from=now)


def _try(number: int, tried: Delivery) -> dict[str, Any]:
    return {
        "notification_id": number,
        "time": tried.time,
        "seconds": tried.seconds,
        "outcome": tried.outcome,
        "status": tried.status,
        "detail": tried.detail,
    }


def _write(
    connection: Connection, touched: Mapping[int, Mapping[str, Any]], tries: Sequence[Mapping[str, Any]]
) -> None:
    if touched:
        own = update(NOTIFICATIONS).where(NOTIFICATIONS.c.id == bindparam("number"))
        connection.execute(own, [{"number": number, **state} for number, state in touched.items()])
    if tries:
        connection.execute(insert(DELIVERIES), tries)
    for number, state in touched.items():
        if state["attempts"] > MOST_TRIES:
            _forget_old_tries(connection, number)


def _forget_old_tries(connection: Connection, number: int) -> None:
    own = select(DELIVERIES.c.id).where(DELIVERIES.c.notification_id == number)
    old = connection.scalars(own.order_by(DELIVERIES.c.id.desc()).offset(MOST_TRIES)).all()
    connection.execute(delete(DELIVERIES).where(DELIVERIES.c.id.in_(old)))


def promote(
    connection: Connection, agent: str, receiver: str, fingerprints: Iterable[str] | None, *, now: float
) -> None:
    """Let the oldest waiting notification of each alert be sent; None for all alerts."""
    if fingerprints is None:
        _promote(connection, agent, receiver, true(), now=now)
        return
    for chunk in chunks(fingerprints):
        _promote(connection, agent, receiver, NOTIFICATIONS.c.fingerprint.in_(chunk), now=now)


def _promote(
    connection: Connection, agent: str, receiver: str, which: ColumnElement[bool], *, now: float
) -> None:
    mine = waiting(agent, receiver), which
    # Two statements: as one, PostgreSQL's planner picks a bad plan for a table that it has not analyzed yet.
    oldest = select(func.min(NOTIFICATIONS.c.id)).where(*mine).group_by(NOTIFICATIONS.c.fingerprint)
    for chunk in chunks(connection.scalars(oldest)):
        connection.execute(
            update(NOTIFICATIONS)
            .where(NOTIFICATIONS.c.id.in_(chunk), NOTIFICATIONS.c.next_time.is_(None))
            .values(next_time=now, waits_from=now)
        )


def put_back(connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], *, now: float) -> None:
    """Let finished notifications be sent again, before the later ones of the same alert."""
    again = {"outcome": str(Outcome.WAITING), "finished_time": None, "next_time": None}
    for chunk in chunks(row.id for row in rows):
        connection.execute(update(NOTIFICATIONS).where(NOTIFICATIONS.c.id.in_(chunk)).values(again))
    for agent, receiver in {(row.agent, row.receiver) for row in rows}:
        touched = [row.fingerprint for row in rows if (row.agent, row.receiver) == (agent, receiver)]
        line_up(connection, agent, receiver, touched, now=now)


def line_up(
    connection: Connection, agent: str, receiver: str, fingerprints: Sequence[str], *, now: float
) -> None:
    """Let the oldest waiting notification of each alert be sent, and no other one."""
    for chunk in chunks(fingerprints):
        later = waiting(agent, receiver), NOTIFICATIONS.c.fingerprint.in_(chunk)
        connection.execute(update(NOTIFICATIONS).where(*later).values(next_time=None))
    promote(connection, agent, receiver, fingerprints, now=now)
