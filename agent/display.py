"""Chooses how progress is shown: a live table on a terminal, plain lines everywhere else."""

import os
from typing import TYPE_CHECKING, TextIO

from flyball.agent.display_plain import PlainDisplay

if TYPE_CHECKING:
    from flyball.agent.display_live import LiveDisplay

_LEAST_COLUMNS = 40
_LEAST_ROWS = 12


def open_display(stream: TextIO) -> "LiveDisplay | PlainDisplay":
    """Return the display for ``stream``, to be entered as a context while the study runs."""
    if not can_redraw(stream):
        return PlainDisplay(stream)
    # Imported only here: every command starts without a table's library.
    from flyball.agent.display_live import LiveDisplay

    return LiveDisplay(stream)


def can_redraw(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal that takes a table in place, and large enough for one."""
    if not stream.isatty() or os.environ.get("TERM", "dumb") in ("", "dumb", "unknown"):
        return False
    try:
        columns, rows = os.get_terminal_size(stream.fileno())
    except OSError:
        return False
    # A terminal that has not been told its size says 0 x 0; it scrolls like any other.
    return columns >= _LEAST_COLUMNS and rows >= _LEAST_ROWS
