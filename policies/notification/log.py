"""Where the chain's lines go."""

from typing import Protocol

from flyball.errors import FlyballError


class Log(Protocol):
    """The agent's lines are one."""

    def info(self, event: str, **values: object) -> object:
        """Something is as it should be."""
        ...

    def warning(self, event: str, **values: object) -> object:
        """Something needs attention."""
        ...


def reason(error: Exception) -> str:
    """Return an error as a line of the log may show it: the text of an unknown one may hold a secret."""
    if not isinstance(error, FlyballError):
        return f"a fault: {type(error).__name__}"
    # Without the mend, which speaks to whoever runs a study.
    return f"{error.where}: {error.what}" if error.where else error.what
