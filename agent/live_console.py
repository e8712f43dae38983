"""The terminal that a live view draws on."""

import os
from typing import TextIO, cast

from rich.console import Console

from flyball.agent.quiet_stream import QuietStream


def live_console(stream: TextIO) -> Console:
    """Return a console on ``stream`` that always has the terminal's own size.

    A size that the shell exports (COLUMNS, LINES) is that of its start, and does not follow the terminal.
    """
    environ = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    return Console(file=cast(TextIO, QuietStream(stream)), highlight=False, _environ=environ)
