"""The states of a collector; each change is logged once.

Starting -> Up, Failing, Stalled;  Up -> Failing, Stalled;  Failing -> Up, Stalled, Failing (another reason);
Stalled -> Up, Failing, once the late answer has come.
"""

from dataclasses import dataclass
from typing import Literal

from flyball.collectors.base import Unavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class Starting:
    """The first answer is awaited."""

    since: float
    name: Literal["starting"] = "starting"
    reason: str = "starting"
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Up:
    """The last collection was whole; what the source itself does not know is in ``unavailable``."""

    since: float
    unavailable: tuple[Unavailable, ...] = ()
    """One for each reason, with the first detail."""
    name: Literal["up"] = "up"
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failing:
    """The last collection gave nothing; the next comes after the back-off."""

    since: float
    reason: str
    detail: str
    back_off_seconds: float
    name: Literal["failing"] = "failing"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stalled:
    """A collection has not answered in time; none other is begun until it does."""

    since: float
    detail: str = ""
    name: Literal["stalled"] = "stalled"
    reason: str = "stalled"


State = Starting | Up | Failing | Stalled


def reasons(state: State) -> tuple[str, ...]:
    """Why something of this collector is unknown; empty while everything is known."""
    if isinstance(state, Up):
        return tuple(sorted(item.reason for item in state.unavailable))
    return (state.reason,)
