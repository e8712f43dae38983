"""The command line: ``flyball`` and ``autotune``.

Exit status: 0 a verdict (or what was asked for), 1 a fault of flyball's (or what ``doctor`` or ``lint``
found), 2 bad input, 5 the user's own command does not train, 6 disk or database gave out, 130 interrupted;
with ``--detailed-exitcode`` 3 for the verdict keep and 4 for unverified.
"""

import io
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from flyball.agent.agent_command import agent, become
from flyball.agent.alerts_command import alerts_app
from flyball.agent.arguments import EXAMPLE, split_arguments
from flyball.agent.autotune_command import autotune
from flyball.agent.doctor_command import doctor
from flyball.agent.faults import OWN_FAULT_STATUS, tell_fault, tell_unexpected
from flyball.agent.history_commands import history_app
from flyball.agent.lint_command import lint
from flyball.agent.p2p_command import EXAMPLE as P2P_EXAMPLE
from flyball.agent.p2p_command import p2p
from flyball.agent.policies_command import policies_app
from flyball.agent.probe_command import probe_app
from flyball.agent.run_command import EXAMPLE as RUN_EXAMPLE
from flyball.agent.run_command import run as run_command
from flyball.agent.top_command import top
from flyball.agent.usage import UsageError, usage_error
from flyball.agent.version import show_version
from flyball.agent.wiring import Wiring
from flyball.errors import FlyballError, Interrupted

_AUTOTUNE_USAGE: dict[str, Any] = {
    "options_metavar": "[OPTIONS] -- COMMAND...",
    "epilog": f"Example: {EXAMPLE}",
    # What stands before the -- and is no option is taken in only to say what is wrong with it.
    "context_settings": {
        "allow_interspersed_args": False,
        "allow_extra_args": True,
        "help_option_names": ["-h", "--help"],
    },
}
_P2P_USAGE: dict[str, Any] = {
    "options_metavar": "[OPTIONS] [-- LAUNCHER...]",
    "epilog": f"Example: {P2P_EXAMPLE}",
}

app = typer.Typer(
    name="flyball",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=f"Example: flyball {EXAMPLE}",
)
app.command("autotune", **_AUTOTUNE_USAGE)(autotune)
app.command("agent", epilog="Example: flyball agent --config flyball.yaml")(agent)
app.command("top", epilog="Example: flyball top --once")(top)
app.command("p2p", **{**_AUTOTUNE_USAGE, **_P2P_USAGE})(p2p)
app.command("run", **{**_AUTOTUNE_USAGE, "epilog": f"Example: {RUN_EXAMPLE}"})(run_command)
app.command("doctor", epilog="Example: flyball doctor --config ds.json")(doctor)
app.command("lint", epilog="Example: flyball lint ds_config.json")(lint)
app.add_typer(alerts_app, name="alerts")
app.add_typer(history_app, name="history")
app.add_typer(policies_app, name="policies")
app.add_typer(probe_app, name="probe")

autotune_app = typer.Typer(name="autotune", pretty_exceptions_enable=False)
autotune_app.command("autotune", **_AUTOTUNE_USAGE)(autotune)


@app.callback(invoke_without_command=True)
def _flyball(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", metavar="", help="Show tracebacks of unexpected errors.")
    ] = False,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Watch DeepSpeed runs, and find a faster configuration by experiment."""
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str], *, program: str = "flyball", wiring: Wiring | None = None) -> int:
    """Run one command line and return its exit status; every fault becomes one line on stderr.

    Args:
        arguments: without the program's name.
        program: ``flyball`` or ``autotune``.
        wiring: what the commands are connected to; the real thing by default.
    """
    wiring = wiring or Wiring()
    for stream in (wiring.out, wiring.err):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot write must not end a study
            stream.reconfigure(errors="backslashreplace")
    try:
        return _invoke(arguments, program, wiring)
    except UsageError as error:
        fault = usage_error(error, split_arguments(arguments, program=program), program=program)
        return tell_fault(fault, wiring.err, debug=wiring.debug)
    except FlyballError as error:
        return tell_fault(error, wiring.err, debug=wiring.debug)
    except (KeyboardInterrupt, typer.Abort):
        return tell_fault(Interrupted("stopped by a signal"), wiring.err, debug=wiring.debug)
    except SystemExit as leaving:  # typer's way out of shell completion and of a closed pipe
        return leaving.code if isinstance(leaving.code, int) else OWN_FAULT_STATUS
    except Exception as error:
        return tell_unexpected(error, wiring.err, debug=wiring.debug)


def _invoke(arguments: Sequence[str], program: str, wiring: Wiring) -> int:
    split = split_arguments(arguments, program=program)
    wiring.command = split.command
    command = typer.main.get_command(app if program == "flyball" else autotune_app)
    status = command.main(list(split.own), prog_name=program, standalone_mode=False, obj=wiring)
    if wiring.interrupted:
        return Interrupted.exit_status
    return status if isinstance(status, int) else 0


def _leave(status: int) -> NoReturn:
    try:
        sys.stdout.flush()
    except OSError:  # whoever read our output has gone; Python would complain once more at its exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def main() -> NoReturn:
    """Entry point of ``flyball``."""
    _leave(run(sys.argv[1:], program="flyball", wiring=Wiring(become=become)))


def autotune_main() -> NoReturn:
    """Entry point of ``autotune``, the same as ``flyball autotune``."""
    _leave(run(sys.argv[1:], program="autotune"))
