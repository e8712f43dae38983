"""``flyball alerts replay``: sends once more what was told of an alert."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from flyball.agent.agent_database import AgentDatabase, ConfigFile, open_agent_database
from flyball.agent.alerts_options import ALERT, AlertKey
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError

if TYPE_CHECKING:
    from flyball.history.alert_records import AlertHistory, DisabledReceiver, Mute, Notification


def replay(
    context: typer.Context,
    alert: AlertKey,
    receiver: Annotated[
        str | None, typer.Option("--receiver", metavar="NAME", help="Only to this receiver.")
    ] = None,
    config: ConfigFile = None,
    db: AgentDatabase = None,
) -> None:
    """Send an alert's notifications again, with the same webhook-id, whatever became of them."""
    from flyball.agent.alerts_search import find_alert
    from flyball.agent.alerts_silence import note_silence
    from flyball.history.alert_log import AlertLog
    from flyball.history.mute_log import MuteLog
    from flyball.history.outbox import Outbox

    wiring: Wiring = context.obj
    with open_agent_database(config, db) as database:
        history = find_alert(AlertLog(database, clock=wiring.clock), alert)
        ended = _ended(history, receiver)
        outbox = Outbox(database, clock=wiring.clock, agent=history.agent)
        count = outbox.requeue(history.id, receiver=receiver)
        mutes = MuteLog(database, clock=wiring.clock).active()
        _note_what_holds_it(wiring.err, history, ended, outbox.disabled(), mutes)
        note_silence(wiring, database, {history.agent})
    names = clean(", ".join(dict.fromkeys(each.receiver for each in ended)))
    sent = "1 notification" if count == 1 else f"{count} notifications"
    wiring.out.write(
        f"alert {history.id} ({clean(history.alert.rule)}): {sent} to {names} once more; "
        f"the running agent picks {'it' if count == 1 else 'them'} up within 5 s\n"
    )


def _ended(history: "AlertHistory", receiver: str | None) -> "list[Notification]":
    """Return those that can be sent again, at least one, else raise OptionError."""
    from flyball.history.alert_records import Outcome

    told = [notification for notification, _ in history.notifications]
    names = list(dict.fromkeys(each.receiver for each in told))
    if not told:
        mend = "it has not fired, or no receiver wanted it"
        raise OptionError(f"alert {history.id} was told to nobody", where=ALERT, mend=mend)
    if receiver is not None and receiver not in names:
        what = f"alert {history.id} was not told to '{receiver}'"
        raise OptionError(what, where="--receiver", mend=f"it was told to {', '.join(names)}")
    chosen = [each for each in told if receiver in (None, each.receiver)]
    ended = [each for each in chosen if each.outcome not in (Outcome.WAITING, Outcome.DISABLED)]
    if not ended:
        waits = any(each.outcome == Outcome.WAITING for each in chosen)
        mend = "it is sent by itself" if waits else "its receiver is disabled: start or reload the agent"
        what = f"no notification of alert {history.id} has ended"
        raise OptionError(what, where=ALERT, mend=mend)
    return ended


def _note_what_holds_it(
    err: TextIO,
    history: "AlertHistory",
    ended: "Sequence[Notification]",
    disabled: "Sequence[DisabledReceiver]",
    mutes: "Sequence[Mute]",
) -> None:
    for each in disabled:
        if each.name in {one.receiver for one in ended}:
            err.write(f"note: {clean(each.name)} is disabled: {clean(each.reason)}\n")
    if history.alert.status == "firing":
        for mute in mutes:
            if mute.matches(history.alert.labels):
                err.write(f"note: mute {mute.id} holds it back; flyball alerts unmute {mute.id} ends that\n")
