"""Where the chain's lines go."""

from typing import Protocol


class Log(Protocol):
    """structlog's loggers are one."""

    def info(self, event: str, **values: object) -> object:
        """Something is as it should be."""
        ...

    def warning(self, event: str, **values: object) -> object:
        """Something needs attention."""
        ...
