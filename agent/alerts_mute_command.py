"""``flyball alerts mute``, ``mutes`` and ``unmute``: what nobody wants to hear of for a time."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.agent_database import AgentDatabase, ConfigFile, open_agent_database
from flyball.agent.alerts_options import MOST_NUMBER, AsJson, print_json
from flyball.agent.durations import format_duration, parse_duration
from flyball.agent.study_options import parse_whole
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError

if TYPE_CHECKING:
    from flyball.history.alert_log import AlertLog
    from flyball.history.alert_records import Mute

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_WHERE = "LABEL=VALUE"
_EXAMPLE = "write LABEL=VALUE, as in alertname=GpuLost host=node-7"


def mute(
    context: typer.Context,
    matchers: Annotated[
        list[str] | None,
        typer.Argument(metavar="LABEL=VALUE...", help="Labels of the alerts; all must be equal."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", metavar="", help="Mute all alerts.")] = False,
    lasting: Annotated[
        str, typer.Option("--for", metavar="TIME", help="For how long: 30m, 2h, 3d; a year at most.")
    ] = "2h",
    comment: Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why, for the others.")] = "",
    config: ConfigFile = None,
    db: AgentDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Tell nobody of some alerts for a time; they are recorded all the same. Prints the mute's number."""
    from flyball.agent.alerts_documents import mute_document
    from flyball.agent.alerts_labels import unknown_labels
    from flyball.agent.alerts_texts import matchers_text, moment
    from flyball.history.alert_log import AlertLog
    from flyball.history.mute_log import MuteLog

    wiring: Wiring = context.obj
    wanted = parse_matchers(matchers or (), every=every)
    seconds = parse_duration(lasting, where="--for")
    until = wiring.clock.time() + seconds
    with open_agent_database(config, db) as database:
        made = MuteLog(database, clock=wiring.clock).add(wanted, until_time=until, comment=clean(comment))
        log = AlertLog(database, clock=wiring.clock)
        count = _matching(log, made)
        unknown = tuple(unknown_labels(log, wanted, config))
    for line in unknown:
        wiring.err.write(f"note: {line}\n")
    if as_json:
        print_json(wiring.out, mute_document(made))
        return
    told = f"{count} alerts that fire or are pending"
    if count < 2:
        told = f"{'one' if count else 'no'} alert that fires or is pending"
    wiring.out.write(
        f"mute {made.id}: {clean(matchers_text(made))}\n"
        f"for {format_duration(seconds)}, until {moment(until)}; the running agent takes it within 5 s\n"
        f"it matches {told}\n"
    )


def mutes(
    context: typer.Context,
    every: Annotated[
        bool, typer.Option("--all", metavar="", help="Those that have ended, too, the newest first.")
    ] = False,
    config: ConfigFile = None,
    db: AgentDatabase = None,
    as_json: AsJson = False,
) -> None:
    """List the mutes in force."""
    from flyball.agent.alerts_documents import mute_document
    from flyball.agent.alerts_tables import mutes_table
    from flyball.agent.plain_tables import write
    from flyball.history.mute_log import MuteLog

    wiring: Wiring = context.obj
    with open_agent_database(config, db, for_reading=True) as database:
        log = MuteLog(database, clock=wiring.clock)
        found = log.all() if every else log.active()
    if as_json:
        print_json(wiring.out, [mute_document(each) for each in found])
    elif found:
        write(mutes_table(found, wiring.clock.time()), wiring.out)
    else:
        wiring.out.write("nothing was muted yet\n" if every else "nothing is muted\n")


def unmute(
    context: typer.Context,
    number: Annotated[str, typer.Argument(metavar="NUMBER", help="The mute's number.")],
    config: ConfigFile = None,
    db: AgentDatabase = None,
) -> None:
    """End a mute; what it held back and still fires is sent then."""
    from flyball.history.mute_log import MuteLog

    wiring: Wiring = context.obj
    wanted = parse_whole(number, where="NUMBER", least=1, most=MOST_NUMBER)
    assert wanted is not None
    with open_agent_database(config, db) as database:
        if not MuteLog(database, clock=wiring.clock).end(wanted):
            mend = "flyball alerts mutes lists those in force"
            raise OptionError(f"there is no mute {wanted} in force", where="NUMBER", mend=mend)
    wiring.out.write(
        f"mute {wanted} has ended; the running agent sends what it held back and still fires within 5 s\n"
    )


def parse_matchers(pairs: Sequence[str], *, every: bool) -> dict[str, str]:
    """Return label to value from ``LABEL=VALUE`` pairs; empty for all alerts, which ``every`` asks for.

    Raises:
        OptionError: a pair is malformed or stands twice, or there is none, and all are not asked for.
    """
    if every and pairs:
        raise OptionError("mutes all alerts", where="--all", mend="leave it out, or leave out the labels")
    if not every and not pairs:
        raise OptionError("is missing", where=_WHERE, mend=f"{_EXAMPLE}, or --all for all alerts")
    found: dict[str, str] = {}
    for pair in pairs:
        label, _, value = pair.partition("=")
        if label.endswith("!") or value.startswith("~"):
            mend = "give the whole value, one mute for each"
            raise OptionError(f"'{pair}': only LABEL=VALUE is known here", where=_WHERE, mend=mend)
        if "=" not in pair or not _LABEL.fullmatch(label) or not _is_text(value):
            raise OptionError(f"'{pair}' matches nothing", where=_WHERE, mend=_EXAMPLE)
        if label in found:
            raise OptionError(f"{label} stands twice", where=_WHERE, mend="make one mute for each value")
        found[label] = value
    return found


def _is_text(value: str) -> bool:
    # What the shell gave that is not UTF-8 stands as halves of surrogate pairs; no database takes them.
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _matching(log: "AlertLog", made: "Mute") -> int:
    from flyball.history.alert_records import AlertStatus

    opened = {
        each.id: each.alert
        for status in (AlertStatus.PENDING, AlertStatus.FIRING)
        for each in log.alerts(status=status)
    }
    return sum(made.matches(alert.labels) for alert in opened.values())
