"""``flyball alerts list`` and ``show``: what fires, and what was told of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.agent_database import AgentDatabase, ConfigFile, open_agent_database
from flyball.agent.alerts_options import AlertKey, AsJson, print_json
from flyball.agent.durations import parse_duration
from flyball.agent.study_options import check_choice, parse_whole
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring

if TYPE_CHECKING:
    from flyball.history.alert_records import LoggedAlert, Mute

_MOST_LISTED = 100_000


def list_alerts(
    context: typer.Context,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help="Only alerts that stand so.")
    ] = None,
    rule: Annotated[
        str | None, typer.Option("--rule", metavar="NAME", help="Only alerts of this policy.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="What changed in this time, ended ones too: 2h, 30m."),
    ] = None,
    limit: Annotated[
        str, typer.Option("--limit", metavar="N", help="The most that are listed, the newest change first.")
    ] = "50",
    every: Annotated[
        bool, typer.Option("--all", metavar="", help="Alerts that have ended, too, back to the oldest.")
    ] = False,
    config: ConfigFile = None,
    db: AgentDatabase = None,
    as_json: AsJson = False,
) -> None:
    """List the alerts that fire, then those that are pending; with --all or --since also those that ended."""
    from flyball.agent.alerts_documents import logged_document
    from flyball.agent.alerts_search import find_alerts
    from flyball.agent.alerts_silence import note_silence
    from flyball.agent.alerts_tables import alerts_table
    from flyball.agent.plain_tables import write
    from flyball.history.alert_log import AlertLog
    from flyball.history.alert_records import AlertStatus
    from flyball.history.mute_log import MuteLog

    wiring: Wiring = context.obj
    now = wiring.clock.time()
    choices = [each.value for each in AlertStatus]
    wanted = AlertStatus(check_choice(status, choices, where="--status")) if status else None
    begin = now - parse_duration(since, where="--since") if since else None
    most = parse_whole(limit, where="--limit", least=1, most=_MOST_LISTED)
    assert most is not None
    statuses = (
        (wanted,) if every or wanted or begin is not None else (AlertStatus.FIRING, AlertStatus.PENDING)
    )
    with open_agent_database(config, db, for_reading=True) as database:
        log = AlertLog(database, clock=wiring.clock)
        found = find_alerts(log, statuses, rule=clean(rule) if rule else None, since=begin, limit=most + 1)
        mutes = MuteLog(database, clock=wiring.clock).active()
        note_silence(wiring, database, {each.agent for each in found})
    shown = found[:most]
    if as_json:
        print_json(wiring.out, [logged_document(each) for each in shown])
    elif shown:
        write(alerts_table(shown, now, cut=wiring.out.isatty()), wiring.out)
        wiring.out.write(_muted(shown, mutes))
        if len(found) > most:
            wiring.out.write(f"there are more than {most}; --limit shows more of them\n")
    else:
        wiring.out.write(_none(is_open=len(statuses) > 1, is_narrowed=bool(wanted or rule or since)))


def _muted(shown: "Sequence[LoggedAlert]", mutes: "Sequence[Mute]") -> str:
    muted = [
        str(each.id)
        for each in shown
        if each.alert.status in ("pending", "firing") and any(one.matches(each.alert.labels) for one in mutes)
    ]
    return f"muted: {', '.join(muted)}; flyball alerts mutes says until when\n" if muted else ""


def _none(*, is_open: bool, is_narrowed: bool) -> str:
    if is_open:
        which = "no such alert" if is_narrowed else "no alert"
        return f"{which} fires or is pending; --all lists those that have ended\n"
    return "no such alert\n" if is_narrowed else "no alert yet\n"


def show(
    context: typer.Context,
    alert: AlertKey,
    config: ConfigFile = None,
    db: AgentDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Show all of an alert, and of each notification every try to deliver it."""
    from flyball.agent.alerts_documents import history_document
    from flyball.agent.alerts_search import find_alert
    from flyball.agent.alerts_tables import alert_page
    from flyball.agent.plain_tables import write
    from flyball.history.alert_log import AlertLog
    from flyball.history.mute_log import MuteLog

    wiring: Wiring = context.obj
    with open_agent_database(config, db, for_reading=True) as database:
        history = find_alert(AlertLog(database, clock=wiring.clock), alert)
        mutes = MuteLog(database, clock=wiring.clock).active()
    if as_json:
        print_json(wiring.out, history_document(history))
    else:
        write(alert_page(history, mutes, wiring.clock.time()), wiring.out)
