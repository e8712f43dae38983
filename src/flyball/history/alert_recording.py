"""Writes alerts and the notifications that they bring; what is written twice changes nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, select

from flyball.history.alert_records import Alert, AlertStatus, Notification, Outcome, Recorded, Transition
from flyball.history.alert_rows import alert_columns, alert_document
from flyball.history.alert_tables import ALERTS, NOTIFICATIONS, RECEIVERS
from flyball.history.inserting import insert_into
from flyball.history.outbox_queue import chunks, promote
from flyball.history.outbox_room import Room

Key = tuple[str, float]
"""``(fingerprint, active_time)``."""
_RANKS = {AlertStatus.PENDING: 0, AlertStatus.FIRING: 1, AlertStatus.RESOLVED: 2, AlertStatus.DROPPED: 2}
_UNIQUE = ("agent", "fingerprint", "active_time")


def record(
    connection: Connection,
    agent: str,
    transitions: Sequence[Transition],
    notifications: Sequence[Notification],
    *,
    now: float,
    max_waiting: int,
) -> Recorded:
    """Bring alerts to where they stand, and add their notifications to the outbox."""
    changes = [(each.alert, each.time) for each in transitions]
    changes += [(each.alert, each.created_time) for each in notifications]
    if not changes:
        return Recorded()
    _write_alerts(connection, agent, changes)
    if not notifications:
        return Recorded()
    return _add(connection, agent, notifications, now=now, max_waiting=max_waiting)


def _write_alerts(connection: Connection, agent: str, changes: Iterable[tuple[Alert, float]]) -> None:
    newest: dict[Key, tuple[Alert, float]] = {}
    for alert, time in changes:
        known = newest.get(_key(alert))
        # One statement may touch a row once; an alert goes forward only.
        if known is None or _RANKS[alert.status] > _RANKS[known[0].status]:
            newest[_key(alert)] = (alert, time)
    insert = insert_into(connection.dialect, ALERTS)
    new = insert.excluded
    changed = case((new["status"] == ALERTS.c.status, ALERTS.c.changed_time), else_=new["changed_time"])
    values = {column.name: new[column.name] for column in ALERTS.columns if column.name != "id"}
    upsert = insert.on_conflict_do_update(
        index_elements=_UNIQUE,
        # An alert that is told once more has not changed.
        set_={**values, "changed_time": changed},
        where=_rank(new["status"]) >= _rank(ALERTS.c.status),
    )
    rows = [alert_columns(alert, agent=agent, changed_time=time) for alert, time in newest.values()]
    connection.execute(upsert, rows)


def _add(
    connection: Connection, agent: str, notifications: Sequence[Notification], *, now: float, max_waiting: int
) -> Recorded:
    ids = alert_ids(connection, agent, [each.alert for each in notifications])
    known = _known(connection, ids.values())
    disabled = set(connection.scalars(select(RECEIVERS.c.name).where(RECEIVERS.c.agent == agent)))
    room = Room(connection, agent, most=max_waiting, now=now)
    passed_over: set[tuple[int, str]] = {
        (alert_id, receiver) for (alert_id, receiver, _), outcome in known.items() if outcome == "overflow"
    }
    rows = []
    for each in notifications:
        alert_id = ids[_key(each.alert)]
        if (alert_id, each.receiver, each.alert.status) in known:
            continue
        known[alert_id, each.receiver, each.alert.status] = ""
        fits = (alert_id, each.receiver) not in passed_over and room.take(each.alert.status)
        if not fits:
            passed_over.add((alert_id, each.receiver))
        outcome = Outcome.DISABLED if each.receiver in disabled else Outcome.WAITING
        rows.append(_row(agent, alert_id, each, outcome if fits else Outcome.OVERFLOW, now=now))
    if rows:
        connection.execute(insert_into(connection.dialect, NOTIFICATIONS).on_conflict_do_nothing(), rows)
    for receiver in {each.receiver for each in notifications}:
        touched = (each.alert.fingerprint for each in notifications if each.receiver == receiver)
        promote(connection, agent, receiver, touched, now=now)
    overflow = sum(row["outcome"] == Outcome.OVERFLOW for row in rows)
    return Recorded(added=len(rows), overflow=overflow, superseded=room.superseded)


def _row(agent: str, alert_id: int, one: Notification, outcome: Outcome, *, now: float) -> dict[str, Any]:
    return {
        "webhook_id": one.webhook_id,
        "agent": agent,
        "receiver": one.receiver,
        "alert_id": alert_id,
        "fingerprint": one.alert.fingerprint,
        "status": str(one.alert.status),
        "document": alert_document(one.alert),
        "created_time": one.created_time,
        "attempts": 0,
        "waits_from": one.created_time,
        "next_time": None,
        "outcome": str(outcome),
        "finished_time": now if outcome == Outcome.OVERFLOW else None,
    }


def alert_ids(connection: Connection, agent: str, alerts: Sequence[Alert]) -> Mapping[Key, int]:
    """Return the numbers of recorded alerts."""
    # An alert that came and went for weeks has many rows: only those since the oldest one asked for.
    since = min(each.active_time for each in alerts)
    query = select(ALERTS.c.fingerprint, ALERTS.c.active_time, ALERTS.c.id).where(
        ALERTS.c.agent == agent, ALERTS.c.active_time >= since
    )
    return {
        (fingerprint, active_time): number
        for chunk in chunks(each.fingerprint for each in alerts)
        for fingerprint, active_time, number in connection.execute(
            query.where(ALERTS.c.fingerprint.in_(chunk))
        )
    }


def _known(connection: Connection, alert_ids: Iterable[int]) -> dict[tuple[int, str, str], str]:
    """Return the outcomes of those that were added before."""
    query = select(
        NOTIFICATIONS.c.alert_id, NOTIFICATIONS.c.receiver, NOTIFICATIONS.c.status, NOTIFICATIONS.c.outcome
    )
    return {
        (alert_id, receiver, status): outcome
        for chunk in chunks(alert_ids)
        for alert_id, receiver, status, outcome in connection.execute(
            query.where(NOTIFICATIONS.c.alert_id.in_(chunk))
        )
    }


def _rank(status: ColumnElement[str]) -> ColumnElement[int]:
    whens = {str(each): rank for each, rank in _RANKS.items()}
    return case(whens, value=status, else_=0)


def _key(alert: Alert) -> Key:
    return alert.fingerprint, alert.active_time
