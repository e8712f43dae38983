"""One thing wrong with a config, and the shape of the rules that find it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from flyball.tuners.context import Context


class Severity(StrEnum):
    """Whether DeepSpeed refuses the config or only does not do what it says."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What is wrong, at which key path, and what to write instead."""

    severity: Severity
    key: str
    what: str
    mend: str


Rule = Callable[[Mapping[str, Any], Context], Iterator[Finding]]


def error(key: str, what: str, mend: str) -> Finding:
    """A finding that DeepSpeed refuses."""
    return Finding(severity=Severity.ERROR, key=key, what=what, mend=mend)


def warning(key: str, what: str, mend: str) -> Finding:
    """A finding that DeepSpeed accepts without doing what it says, or that costs speed unseen."""
    return Finding(severity=Severity.WARNING, key=key, what=what, mend=mend)
