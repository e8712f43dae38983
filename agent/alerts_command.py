"""``flyball alerts``: alerts, and whether they get where they should."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.alerts_list_command import list_alerts, show
from flyball.agent.alerts_mute_command import mute, mutes, unmute
from flyball.agent.alerts_replay_command import replay
from flyball.agent.text import clean
from flyball.agent.wiring import Wiring
from flyball.errors import OptionError

if TYPE_CHECKING:
    from flyball.policies.notification.base import Answer, Receiver
    from flyball.policies.notification.receivers.posting import Heard

alerts_app = typer.Typer(help="Look after alerts and where they go.")
_NOT_DELIVERED_STATUS = 1
alerts_app.command("list", epilog="Example: flyball alerts list --since 2h")(list_alerts)
alerts_app.command("show", epilog="Example: flyball alerts show 12")(show)
alerts_app.command("mute", epilog="Example: flyball alerts mute alertname=GpuLost host=node-7")(mute)
alerts_app.command("mutes", epilog="Example: flyball alerts mutes --all")(mutes)
alerts_app.command("unmute", epilog="Example: flyball alerts unmute 3")(unmute)
alerts_app.command("replay", epilog="Example: flyball alerts replay 12 --receiver ops")(replay)


@alerts_app.command("test", epilog="Example: flyball alerts test ops --config flyball.yaml")
def test_receiver(
    context: typer.Context,
    receiver: Annotated[
        str, typer.Argument(metavar="RECEIVER", help="Its name, as the configuration has it.")
    ],
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The agent's configuration (YAML).")
    ],
) -> None:
    """Send a sample alert to a receiver and print the answer; exit 1 when it was not delivered."""
    import asyncio
    import platform

    from flyball.agent.daemon.config_file import read_config
    from flyball.agent.daemon.receivers_config import external_url, make_receivers
    from flyball.agent.notes import notes
    from flyball.policies.notification.base import Delivered
    from flyball.policies.notification.receivers.sample import sample_notification

    wiring: Wiring = context.obj
    effective = read_config(config, wiring.collector_types)
    if receiver not in effective.receivers:
        known = ", ".join(effective.receivers)
        mend = f"the receivers are {known}" if known else f"{config} has none; see docs/webhooks.md"
        raise OptionError(f"{receiver!r} is no receiver", where="RECEIVER", mend=mend)
    url = external_url(effective.config, tls=effective.web.tls_server_config is not None)
    wanted = {receiver: effective.receivers[receiver]}
    made = make_receivers(
        wanted,
        clock=wiring.clock,
        external_url=url,
        folder=effective.folder,
        warn=notes(wiring.err),
    )[receiver]
    sample = sample_notification(receiver, host=platform.node(), time=wiring.clock.time())

    async def send() -> "Answer":
        try:
            return await made.send(sample)
        finally:
            await made.close()

    answer = asyncio.run(send())
    kind = effective.receivers[receiver].type
    wiring.out.write(f"{receiver} ({kind}): {said(answer)}\nwebhook-id: {sample.webhook_id}\n")
    heard = heard_by(made)
    if heard is not None:
        wiring.out.write(answered(heard))
    if not isinstance(answer, Delivered):
        raise typer.Exit(_NOT_DELIVERED_STATUS)


def said(answer: "Answer") -> str:
    """Return an answer for people, on one line."""
    from flyball.policies.notification.base import Delivered, Gone

    if isinstance(answer, Delivered):
        return "delivered"
    if isinstance(answer, Gone):
        return f"gone: {clean(answer.detail)}"
    return f"{type(answer).__name__.lower()}, {answer.reason}: {clean(answer.detail)}"


def heard_by(receiver: "Receiver") -> "Heard | None":
    """Return what the server said, where the receiver speaks HTTP and there was an answer."""
    found: Heard | None = getattr(receiver, "heard", None)
    return found


def answered(heard: "Heard") -> str:
    """Return status, headers of interest and the body's first line, a line each."""
    headers = "".join(f"{name}: {clean(value)}\n" for name, value in heard.headers.items())
    return f"status: {heard.status}\n{headers}body: {clean(heard.first_line) or '(empty)'}\n"
