"""``flyball agent``: the daemon beside the workloads."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.wiring import Wiring
from flyball.clock import SystemClock

if TYPE_CHECKING:
    from flyball.agent.daemon.config_file import Effective


def agent(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Configuration (YAML); without it all defaults."),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option("--listen", metavar="ADDRESS", help="Address and port, instead of the file's listen."),
    ] = None,
    check_config: Annotated[
        bool, typer.Option("--check-config", metavar="", help="Check the configuration and leave.")
    ] = False,
    print_config: Annotated[
        bool,
        typer.Option("--print-config", metavar="", help="Print the effective configuration and leave."),
    ] = False,
) -> None:
    """Watch the GPUs, runs and links of this machine, and serve what is known to Prometheus."""
    # Imported only now: other commands need no HTTP server.
    from flyball.agent.daemon.config_file import read_config
    from flyball.agent.daemon.config_print import written
    from flyball.agent.daemon.config_summary import summary

    wiring: Wiring = context.obj

    def read() -> "Effective":
        return read_config(config, wiring.collector_types, listen=listen)

    effective = read()
    if print_config:
        wiring.out.write(written(effective))
    elif check_config:
        wiring.out.write(f"ok: {summary(effective)}\n")
    else:
        _run(effective, read, config, wiring)


def _run(
    effective: "Effective", read: "Callable[[], Effective]", config_file: Path | None, wiring: Wiring
) -> None:
    import asyncio

    from flyball.agent.daemon import logs
    from flyball.agent.daemon.lock import locked
    from flyball.agent.daemon.service import Daemon

    logs.configure(effective.config.log_format, effective.config.log_level)

    def say(address: str) -> None:
        wiring.out.write(f"flyball agent: {address}\n")
        wiring.out.flush()

    async def serve() -> None:
        log = logs.Lines()
        daemon = Daemon(effective, read=read, config_file=config_file, clock=SystemClock(), log=log)
        await daemon.serve(say)

    with locked(effective.config.state_folder):
        asyncio.run(serve())
