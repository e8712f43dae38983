"""What ``flyball agent`` hands over to the process that it becomes."""

from collections.abc import Sequence
from pathlib import Path


def daemon_arguments(config: Path | None, listen: str | None, *, debug: bool) -> tuple[str, ...]:
    """As :func:`given` takes them apart."""
    named = (("config", config), ("listen", listen), ("debug", "yes" if debug else None))
    return tuple(f"--{name}={value}" for name, value in named if value is not None)


def given(arguments: Sequence[str]) -> tuple[Path | None, str | None, bool]:
    """The configuration's file, the address to listen at, and whether tracebacks are shown."""
    named = dict(argument.removeprefix("--").split("=", 1) for argument in arguments)
    config = named.get("config")
    return None if config is None else Path(config), named.get("listen"), "debug" in named
