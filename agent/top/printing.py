"""Prints one view: for people, or as JSON."""

import json
import math
from dataclasses import asdict
from typing import Any, TextIO

from rich.console import Console

from flyball.agent.top.render import Page
from flyball.agent.top.view import View

SCHEMA = 1


def print_view(view: View, out: TextIO) -> None:
    """Write the whole page, as wide as the terminal is, or 80 columns; ``COLUMNS`` says otherwise."""
    console = Console(file=out, highlight=False)
    with console.capture() as captured:
        console.print(Page(view, endless=True))
    out.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def print_json(view: View, out: TextIO) -> None:
    """Write the view as one JSON object; what is not known is null, a number that is none its name."""
    document = {"schema": SCHEMA, **asdict(view)}
    out.write(json.dumps(_plain(document), indent=2, ensure_ascii=False) + "\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    # JSON has no NaN, and a loss that is NaN is no unknown loss.
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
