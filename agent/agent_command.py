"""``flyball agent``: the daemon beside the workloads."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from flyball.agent.daemon.process_arguments import daemon_arguments
from flyball.agent.wiring import Wiring

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
    wiring: Wiring = context.obj
    if wiring.become is not None and not print_config and not check_config:
        wiring.become(daemon_arguments(config, listen, debug=wiring.debug))
    # Imported only now: other commands need no HTTP server.
    from flyball.agent.daemon.config_file import read_config
    from flyball.agent.daemon.config_print import written
    from flyball.agent.daemon.config_summary import summary
    from flyball.agent.daemon.open_secrets import note_open_secrets
    from flyball.agent.daemon.process import serve
    from flyball.agent.notes import notes

    def read() -> "Effective":
        return read_config(config, wiring.collector_types, listen=listen)

    if print_config:
        wiring.out.write(written(read()))
    elif check_config:
        effective = read()
        note_open_secrets(effective, notes(wiring.err))
        wiring.out.write(f"ok: {summary(effective)}\n")
    else:
        serve(read, config_file=config, out=wiring.out)


def become(arguments: Sequence[str]) -> NoReturn:
    """Go on as the daemon's process, under the same id.

    Never from the working folder: -P. Without docstrings, which take 5 MB of its memory: -OO.
    """
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-P", "-OO", "-m", "flyball.agent.daemon", *arguments])
