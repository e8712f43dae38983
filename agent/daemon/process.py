"""The daemon's process: what ``flyball agent`` becomes, without the command line's 3 MB."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from flyball.agent.daemon import logs
from flyball.agent.daemon.config_file import Effective, read_config
from flyball.agent.daemon.lock import locked
from flyball.agent.daemon.memory import without_idle_threads
from flyball.agent.daemon.process_arguments import given
from flyball.agent.daemon.service import Daemon
from flyball.agent.faults import tell_fault, tell_unexpected
from flyball.clock import SystemClock
from flyball.collectors.registry import collector_types
from flyball.errors import FlyballError, Interrupted


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; return the exit status, those of :mod:`flyball.agent.cli`."""
    config, listen, debug = given(arguments)
    without_idle_threads()

    def read() -> Effective:
        return read_config(config, collector_types, listen=listen)

    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        serve(read, config_file=config, out=sys.stdout)
    except FlyballError as error:
        return tell_fault(error, sys.stderr, debug=debug)
    except KeyboardInterrupt:
        return tell_fault(Interrupted("stopped by a signal"), sys.stderr, debug=debug)
    except Exception as error:
        return tell_unexpected(error, sys.stderr, debug=debug)
    return 0


def serve(read: Callable[[], Effective], *, config_file: Path | None, out: TextIO) -> None:
    """Run the daemon in this process. Raises FlyballError: the configuration, the port, another agent."""
    effective = read()
    logs.configure(effective.config.log_format, effective.config.log_level)

    def say(address: str) -> None:
        out.write(f"flyball agent: {address}\n")
        out.flush()

    async def run() -> None:
        log = logs.Lines()
        daemon = Daemon(effective, read=read, config_file=config_file, clock=SystemClock(), log=log)
        await daemon.serve(say)

    with locked(effective.config.state_folder):
        asyncio.run(run())
