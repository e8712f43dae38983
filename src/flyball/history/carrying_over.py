"""What of an agent's database goes into the one that follows it: all that is not over yet.

That is what fires or is pending, what waits to be sent, with every notification of the same alerts and their
tries, what a receiver that is away was told of, mutes, and requests for a tuning. Alerts that are over and
told stay behind.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, func, insert, or_, select, update

from flyball.history import alert_recording
from flyball.history.alert_records import AlertStatus, Outcome, Transition
from flyball.history.alert_rows import alert_record
from flyball.history.alert_tables import (
    AGENTS,
    ALERTS,
    DELIVERIES,
    MUTES,
    NOTIFICATIONS,
    RECEIVERS,
    TUNING_REQUESTS,
)
from flyball.history.inserting import insert_into
from flyball.history.outbox_queue import chunks, line_up

_HELD = (Outcome.WAITING, Outcome.DISABLED)
_AWAY_SECONDS = 60.0
"""Alerts that ended so long before a receiver was disabled may have ended unheard by it."""
Rows = Sequence[Row[Any]]
Number = tuple[str, str, float]
"""``(agent, fingerprint, active_time)``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """How much went over."""

    alerts: int
    notifications: int
    """That are still to be sent."""
    mutes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unfinished:
    """What is not over yet, as rows of the tables."""

    alerts: Rows
    notifications: Rows
    deliveries: Rows
    """Each with the ``webhook_id`` of its notification."""
    mutes: Rows
    others: Mapping[str, Rows]
    """By table: agents, receivers and requests."""


_OTHERS = (AGENTS, RECEIVERS, TUNING_REQUESTS)


def unfinished(connection: Connection, *, now: float) -> Unfinished:
    """Read what is not over yet, of all agents."""
    held = select(NOTIFICATIONS.c.alert_id).where(NOTIFICATIONS.c.outcome.in_(_HELD))
    away = select(func.min(RECEIVERS.c.disabled_time) - _AWAY_SECONDS).scalar_subquery()
    kept = or_(
        ALERTS.c.status.in_((AlertStatus.PENDING, AlertStatus.FIRING)),
        ALERTS.c.id.in_(held),
        (ALERTS.c.status == AlertStatus.RESOLVED) & (ALERTS.c.changed_time >= away),
    )
    own = NOTIFICATIONS.c.alert_id.in_(select(ALERTS.c.id).where(kept))
    tries = select(NOTIFICATIONS.c.webhook_id, DELIVERIES).join(NOTIFICATIONS).where(own)

    def rows(query: Select[Any]) -> Rows:
        return connection.execute(query).all()

    return Unfinished(
        alerts=rows(select(ALERTS).where(kept).order_by(ALERTS.c.id)),
        notifications=rows(select(NOTIFICATIONS).where(own).order_by(NOTIFICATIONS.c.id)),
        deliveries=rows(tries.order_by(DELIVERIES.c.id)),
        mutes=rows(
            select(MUTES)
            .where(or_(MUTES.c.until_time.is_(None), MUTES.c.until_time > now))
            .order_by(MUTES.c.id)
        ),
        others={table.name: rows(select(table)) for table in _OTHERS},
    )


def carry_over(connection: Connection, left: Unfinished, *, now: float) -> Carried:
    """Write what was not over into another database, which may know some of it; all or nothing.

    What either knows to be over is over. Everything that waits is due now.
    """
    numbers = _alerts(connection, left.alerts)
    _notifications(connection, left, numbers)
    for agent, receiver in {(row.agent, row.receiver) for row in left.notifications}:
        own = [row for row in left.notifications if (row.agent, row.receiver) == (agent, receiver)]
        line_up(connection, agent, receiver, [row.fingerprint for row in own], now=now)
    for table in _OTHERS:
        if rows := left.others[table.name]:
            adding = insert_into(connection.dialect, table).on_conflict_do_nothing()
            connection.execute(adding, [dict(row._mapping) for row in rows])
    return Carried(
        alerts=len(left.alerts),
        notifications=sum(row.outcome in _HELD for row in left.notifications),
        mutes=_mutes(connection, left.mutes),
    )


def _alerts(connection: Connection, rows: Rows) -> dict[int, int]:
    """Add or move on alerts; return their new numbers by their old ones."""
    found: dict[Number, int] = {}
    for agent in {row.agent for row in rows}:
        own = [
            Transition(alert=alert_record(row), time=row.changed_time) for row in rows if row.agent == agent
        ]
        alert_recording.record(connection, agent, own, (), now=0.0, max_waiting=0)
        ids = alert_recording.alert_ids(connection, agent, [each.alert for each in own])
        found |= {(agent, *key): number for key, number in ids.items()}
    return {row.id: found[row.agent, row.fingerprint, row.active_time] for row in rows}


def _notifications(connection: Connection, left: Unfinished, alerts: Mapping[int, int]) -> None:
    known = _known(connection, [row.webhook_id for row in left.notifications])
    over = [
        {"name": row.webhook_id, "attempts": row.attempts, "outcome": row.outcome, "ended": row.finished_time}
        for row in left.notifications
        if row.outcome not in _HELD and row.webhook_id in known and known[row.webhook_id].outcome in _HELD
    ]
    if over:
        same = update(NOTIFICATIONS).where(NOTIFICATIONS.c.webhook_id == bindparam("name"))
        connection.execute(same.values(next_time=None, finished_time=bindparam("ended")), over)
    new = [row for row in left.notifications if row.webhook_id not in known]
    if new:
        values = [{**_without_id(row), "alert_id": alerts[row.alert_id], "next_time": None} for row in new]
        connection.execute(insert_into(connection.dialect, NOTIFICATIONS).on_conflict_do_nothing(), values)
    _deliveries(connection, [row for row in left.deliveries if row.webhook_id not in known])


def _deliveries(connection: Connection, tries: Rows) -> None:
    known = _known(connection, [row.webhook_id for row in tries])
    values = [
        {**_without_id(row, "webhook_id"), "notification_id": known[row.webhook_id].id}
        for row in tries
        if row.webhook_id in known
    ]
    if values:
        connection.execute(insert(DELIVERIES), values)


def _known(connection: Connection, webhook_ids: Sequence[str]) -> dict[str, Row[*tuple[Any, ...]]]:
    query = select(NOTIFICATIONS.c.webhook_id, NOTIFICATIONS.c.id, NOTIFICATIONS.c.outcome)
    return {
        row.webhook_id: row
        for chunk in chunks(webhook_ids)
        for row in connection.execute(query.where(NOTIFICATIONS.c.webhook_id.in_(chunk)))
    }


def _mutes(connection: Connection, rows: Rows) -> int:
    known = {(row.created_time, str(row.matchers)) for row in connection.execute(select(MUTES))}
    new = [_without_id(row) for row in rows if (row.created_time, str(row.matchers)) not in known]
    if new:
        connection.execute(insert(MUTES), new)
    return len(rows)


def _without_id(row: Row[Any], *others: str) -> dict[str, Any]:
    return {name: value for name, value in row._mapping.items() if name not in ("id", *others)}
