"""Draws alerts and mutes: one line each on a terminal, and all there is to say of one."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from flyball.agent.alerts_texts import how_long, labels_text, left_text, matchers_text, moment, status_began
from flyball.agent.durations import format_duration
from flyball.agent.plain_tables import add_row, facts_table, new_table
from flyball.agent.redact import redact_urls
from flyball.agent.text import clean
from flyball.history.agent_name import ALONE
from flyball.history.alert_records import (
    Alert,
    AlertHistory,
    AlertStatus,
    Delivery,
    LoggedAlert,
    Mute,
    Notification,
    Outcome,
)

_SHOWN_TRIES = 10
_FIRST_NAME, _LONGEST_NAME = 4, 26


def alerts_table(alerts: Sequence[LoggedAlert], now: float, *, cut: bool) -> Table:
    """Return one line for each alert; with ``cut``, for a terminal, long names and labels are shortened."""
    shared = any(each.agent != ALONE for each in alerts)
    table = new_table(">no", "status", ">for", "severity", "alert", *(["agent"] if shared else []))
    for column in table.columns[_FIRST_NAME:]:
        column.no_wrap, column.overflow = True, "ellipsis"
        column.max_width = _LONGEST_NAME if cut else None
    table.add_column("labels", no_wrap=True, overflow="ellipsis", ratio=1)
    table.expand = True
    for each in alerts:
        alert = each.alert
        cells = (
            str(each.id),
            str(alert.status),
            how_long(each, now),
            alert.severity or "-",
            alert.rule,
            *([each.agent] if shared else []),
            labels_text(alert.labels),
        )
        add_row(table, cells, style=_style(alert))
    return table


def mutes_table(mutes: Sequence[Mute], now: float) -> Table:
    """Return one row for each mute."""
    table = new_table(">no", ">left", "made", "mutes", "comment")
    for mute in mutes:
        cells = (
            str(mute.id),
            left_text(mute, now),
            moment(mute.created_time),
            matchers_text(mute),
            mute.comment or "-",
        )
        add_row(table, cells)
    return table


def alert_page(history: AlertHistory, mutes: Sequence[Mute], now: float) -> Group:
    """Return all there is to say of one alert, and what was told of it to whom."""
    parts: list[RenderableType] = [_facts(history, mutes, now)]
    if history.alert.annotations:
        parts += [Text(), facts_table(history.alert.annotations)]
    if not history.notifications:
        parts += [Text(), Text(_untold(history.alert))]
    waiting: set[str] = set()
    for notification, tries in history.notifications:
        parts += [Text(), _told(notification, now, behind=notification.receiver in waiting)]
        if notification.outcome == Outcome.WAITING:
            waiting.add(notification.receiver)
        if tries:
            parts.append(Padding(_tries_table(notification, tries), (0, 0, 0, 2)))
    return Group(*parts)


def _facts(history: AlertHistory, mutes: Sequence[Mute], now: float) -> Table:
    alert = history.alert
    muted_by = [str(mute.id) for mute in mutes if mute.matches(alert.labels)]
    lasted = format_duration(now - status_began(alert))
    is_open = alert.status in (AlertStatus.PENDING, AlertStatus.FIRING)
    facts = {
        "alert": f"{history.id}  {alert.rule}",
        "agent": None if history.agent == ALONE else history.agent,
        "status": f"{alert.status} for {lasted}" if alert.status != AlertStatus.DROPPED else _DROPPED,
        "severity": alert.severity,
        "labels": labels_text(alert.labels),
        "fingerprint": alert.fingerprint,
        "value": f"{alert.value:g}",
        "true since": moment(alert.active_time),
        "fired": None if alert.fired_time is None else moment(alert.fired_time),
        "quiet since": None if alert.quiet_time is None or not is_open else moment(alert.quiet_time),
        "resolved": None if alert.resolved_time is None else moment(alert.resolved_time),
        "muted by": ", ".join(muted_by) if is_open else None,
        "suggests": ", ".join(alert.suggests),
    }
    return facts_table(facts)


_DROPPED = "dropped: it ended before it fired"


def _untold(alert: Alert) -> str:
    if alert.status in (AlertStatus.PENDING, AlertStatus.DROPPED):
        return "told to nobody: it has not fired" if alert.status is AlertStatus.PENDING else "told to nobody"
    return "told to nobody: no receiver wanted it"


def _told(notification: Notification, now: float, *, behind: bool) -> Text:
    tried = f", {_counted(notification.attempts)}" if notification.attempts else ""
    text = (
        f"{notification.alert.status} to {notification.receiver}: {notification.outcome}{tried}"
        f"{_when(notification, now, behind=behind)}, webhook-id {notification.webhook_id}"
    )
    return Text(redact_urls(clean(text)))


def _counted(attempts: int) -> str:
    return "1 try" if attempts == 1 else f"{attempts} tries"


def _when(notification: Notification, now: float, *, behind: bool) -> str:
    if notification.finished_time is not None:
        return f", {moment(notification.finished_time)}"
    if notification.outcome != Outcome.WAITING:
        return ""
    if behind:
        return " for the one before"
    if notification.next_time <= now:
        return ", to be sent now"
    return f", next try {moment(notification.next_time)} (in {format_duration(notification.next_time - now)})"


def _tries_table(notification: Notification, tries: Sequence[Delivery]) -> Table:
    table = new_table("time", ">took", "outcome", ">HTTP", "detail")
    shown = tries[-_SHOWN_TRIES:]
    if len(shown) < notification.attempts:
        add_row(table, (f"{notification.attempts - len(shown)} before", "", "", "", ""))
    for each in shown:
        cells = (
            moment(each.time),
            f"{each.seconds:.3g}s",
            each.outcome,
            "-" if each.status is None else str(each.status),
            each.detail or "-",
        )
        add_row(table, cells, style="yellow" if each.outcome != Outcome.DELIVERED else "")
    return table


def _style(alert: Alert) -> str:
    if alert.status is not AlertStatus.FIRING:
        return ""
    return "bold yellow" if alert.severity == "critical" else "yellow"
