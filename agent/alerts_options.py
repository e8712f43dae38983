"""What the commands of ``flyball alerts`` have in common: options, and how JSON is printed."""

import json
from typing import Annotated, Any, TextIO

import typer

from flyball.agent.redact import redact_urls

AsJson = Annotated[bool, typer.Option("--json", metavar="", help="Print JSON.")]
ALERT = "NUMBER|FINGERPRINT"
"""How an alert is named."""
AlertKey = Annotated[
    str, typer.Argument(metavar=ALERT, help="Its number, or its fingerprint for the newest of that.")
]
MOST_NUMBER = 2**31 - 1
"""The largest that a database's own numbers may be."""


def print_json(out: TextIO, document: Any) -> None:
    """Print JSON in ASCII: what a terminal would obey is escaped, and not lost."""
    out.write(redact_urls(json.dumps(document, indent=2)) + "\n")
