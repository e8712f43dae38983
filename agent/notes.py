"""Notes on stderr: what needs attention and stops nothing."""

from collections.abc import Callable
from typing import TextIO


def notes(stream: TextIO) -> Callable[..., None]:
    """Return what writes a line of an event and its values: where, reason and mend."""

    def warn(event: str, **values: object) -> None:
        place, mend = (str(values[name]) if name in values else "" for name in ("where", "mend"))
        stream.write(f"note: {place}{': ' if place else ''}{event}{'; ' if mend else ''}{mend}\n")

    return warn
