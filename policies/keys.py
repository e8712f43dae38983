"""The keys of policy files, as pydantic reads them; docs/policies.md documents each.

Values that only make sense together (a threshold and its metric's unit, labels and their metric) are looked
at afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from flyball.collectors.catalog import PHASES
from flyball.policies.durations import parse_duration
from flyball.policies.faults import Faults, Path, did_you_mean
from flyball.policies.rule import Aggregate, Severity
from flyball.yaml_file import plain

LONGEST_WINDOW_SECONDS = 86_400.0
"""The agent holds the samples of every window in memory."""
LONGEST_WAIT_SECONDS = 30 * 86_400.0
Keys = TypeVar("Keys", bound=BaseModel)


def _at_most(seconds: float, most: float, words: str) -> float:
    if seconds > most:
        raise ValueError(f"is longer than {words}; write a shorter duration")
    return seconds


def _window(value: Any) -> float:
    seconds = _at_most(parse_duration(value), LONGEST_WINDOW_SECONDS, "a day")
    if not seconds:
        raise ValueError("is no time at all; write a window such as 2m")
    return seconds


def _offset(value: Any) -> float:
    return _at_most(parse_duration(value), LONGEST_WINDOW_SECONDS, "a day")


def _wait(value: Any) -> float:
    return _at_most(parse_duration(value), LONGEST_WAIT_SECONDS, "30 days")


def _one_of(known: type[StrEnum] | tuple[str, ...], noun: str) -> Any:
    names = known if isinstance(known, tuple) else tuple(each.value for each in known)

    def check(value: Any) -> Any:
        if value in names:
            return value
        mend = did_you_mean(str(value), names, otherwise=f"write one of {', '.join(names)}")
        raise ValueError(f"'{value}' is no {noun}; {mend}")

    return BeforeValidator(check)


_PHASE = _one_of(PHASES, "phase")


def _phase_or_mapping(value: Any) -> Any:
    # A mapping is read by itself, so that each of its faults has its line.
    return value if isinstance(value, Mapping) else _PHASE.func(value)


def _text(value: Any) -> str:
    if isinstance(value, bool | int | float):
        raise ValueError(f"{value} is no text; write it in quotes")
    if not isinstance(value, str):
        raise ValueError("is no text; write one line of text")
    return value


Text = Annotated[str, BeforeValidator(_text)]
Window = Annotated[float, BeforeValidator(_window)]
Offset = Annotated[float, BeforeValidator(_offset)]
Wait = Annotated[float, BeforeValidator(_wait)]
PhaseName = Annotated[str, _PHASE]
AggregateName = Annotated[Aggregate, _one_of(Aggregate, "aggregate")]


class OperandKeys(BaseModel):
    """Series and what is made of each: the partner of an arithmetic."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: Text = ""
    match: dict[str, Any] = Field(default_factory=dict)
    aggregate: AggregateName | None = None
    window: Window | None = None
    offset: Offset = 0.0


class BaselineKeys(BaseModel):
    """The longer window that a series is held against."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    window: Window | None = None
    aggregate: AggregateName | None = None


class WhileKeys(BaseModel):
    """A phase, and for how long it is remembered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    phase: PhaseName = ""
    within: Offset = 0.0


class PolicyKeys(OperandKeys):
    """One policy."""

    alert: Text = ""
    during: Annotated[Any, BeforeValidator(_phase_or_mapping)] = Field(default=None, alias="while")
    plus: Any = None
    minus: Any = None
    times: Any = None
    divided_by: Any = None
    baseline: Any = None
    above: Any = None
    at_least: Any = None
    below: Any = None
    at_most: Any = None
    equal: Any = None
    not_equal: Any = None
    is_nan: Any = None
    absent: Any = None
    for_seconds: Wait = Field(default=0.0, alias="for")
    keep_firing_for: Wait = 0.0
    severity: Annotated[Severity, _one_of(Severity, "severity")] = Severity.WARNING
    labels: dict[str, Any] = Field(default_factory=dict)
    annotations: dict[str, Any] = Field(default_factory=dict)
    suggests: list[Text] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True, slots=True)
class Read(Generic[Keys]):
    """A mapping of the file as far as it is in order."""

    keys: Keys
    wrong: frozenset[str]
    """Keys whose faults are known already; in ``keys`` they have their defaults."""
    at: Path
    faults: Faults

    def add(self, key: str, what: str, *, mend: str) -> None:
        """Take in a fault of one key; of the whole where ``key`` is empty."""
        self.faults.add([*self.at, key] if key else self.at, what, mend=mend)

    def has(self, key: str) -> bool:
        """Whether the file has this key, by its name here, and it is in order."""
        return key in self.keys.model_fields_set


def read_keys(
    model: type[Keys], value: Any, at: Path, faults: Faults, *, noun: str, mend: str
) -> Read[Keys] | None:
    """Read the mapping that stands at ``at``; keys with faults are left out, so that the rest is checked too.

    Returns None where it is no mapping; ``noun`` and ``mend`` say what it should be.
    """
    if not isinstance(value, Mapping):
        faults.add(at, f"is no {noun}", mend=mend)
        return None
    document, wrong = plain(value), frozenset[str]()
    try:
        model.model_validate(document)
    except ValidationError as error:
        faults.found.extend(faults.file.faults(error, model, at, see=faults.see))
        wrong = frozenset(str(fault["loc"][0]) for fault in error.errors(include_url=False))
    good = {key: item for key, item in document.items() if key not in wrong}
    return Read(keys=model.model_validate(good), wrong=wrong, at=at, faults=faults)
