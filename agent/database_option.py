"""``--db``, as every command that keeps or shows history has it."""

from typing import Annotated

import typer

Database = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="URL",
        envvar="FLYBALL_DB",
        help="History database; by default history.db in flyball's state folder.",
    ),
]
