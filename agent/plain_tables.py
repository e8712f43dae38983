"""Tables without lines around them: as wide as a terminal, nothing cut off in a pipe."""

from collections.abc import Iterable, Mapping
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from flyball.agent.redact import redact_urls
from flyball.agent.text import clean

_PIPE_COLUMNS = 4096


def write(renderable: RenderableType, out: TextIO) -> None:
    """Write to ``out``: as wide as the terminal is, or without limit where it is none."""
    console = Console(file=out, highlight=False, width=None if out.isatty() else _PIPE_COLUMNS)
    with console.capture() as captured:
        console.print(renderable)
    out.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def new_table(*titles: str) -> Table:
    """Return a table; a title that begins with ``>`` heads a column of numbers."""
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="dim")
    for title in titles:
        right = title.startswith(">")
        table.add_column(title.lstrip(">"), justify="right" if right else "left", overflow="fold")
    return table


def add_row(table: Table, cells: Iterable[str], *, style: str = "") -> None:
    """Add a row of other people's text."""
    table.add_row(*(Text(redact_urls(clean(cell))) for cell in cells), style=style)


def facts_table(facts: Mapping[str, object]) -> Table:
    """Return labels and their values, a line each, without those that have none."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, value in facts.items():
        if value not in (None, ""):
            table.add_row(clean(label), Text(redact_urls(clean(str(value)))))
    return table
