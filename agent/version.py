"""``--version``."""

import typer

from flyball import __version__


def show_version(wanted: bool) -> None:
    """Print the version and leave, when asked for."""
    if wanted:
        typer.echo(f"flyball {__version__}")
        raise typer.Exit
