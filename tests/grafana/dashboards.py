"""What Grafana would make of the built dashboards: their panels, and their queries with variables put in."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "grafana" / "dashboards"
FILES = ("fleet.json", "run.json")


def load(name: str) -> dict[str, Any]:
    """One dashboard as it lies on disk."""
    board: dict[str, Any] = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return board


def panels(board: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All that show something; rows only head them."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each query with the panel that it belongs to."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"{panel['title']} {target['refId']}", target["expr"]


def put_in(expression: str, values: Mapping[str, str]) -> str:
    """The expression with every variable replaced; longer names first, since they may begin alike."""
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    return expression
