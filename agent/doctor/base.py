"""What every check of ``flyball doctor`` takes and gives."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    """It works, with less than it could."""
    FAILING = "failing"
    """Something that was asked for does not work."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One line of the doctor's."""

    name: str
    level: Level
    text: str
    mend: str = ""
    """What to do; empty where all is well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """What the doctor was asked about."""

    python: str
    """The interpreter that the workload runs under."""
    config: Path | None
    database_url: str
    state: Path
    """flyball's state folder."""
    cwd: Path
    agent_port: int


Check = Callable[[Question], Iterable[Finding]]


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name=name, level=Level.OK, text=text)


def warning(name: str, text: str, mend: str) -> Finding:
    """It works, with less than it could."""
    return Finding(name=name, level=Level.WARNING, text=text, mend=mend)


def failing(name: str, text: str, mend: str) -> Finding:
    """It does not work."""
    return Finding(name=name, level=Level.FAILING, text=text, mend=mend)
