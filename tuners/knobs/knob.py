"""What a knob is. Each knob is one declaration; the list of all of them stands in ``registry.py``."""

import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from flyball.tuners.base import Assignment, Value
from flyball.tuners.legality.context import Batch, Context, resolve_batch


class Applied(StrEnum):
    """By which way a knob reaches the run."""

    CONFIG = "config"
    ARGUMENT = "argument"
    ENVIRONMENT = "environment"
    PROBE = "probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """The user's config in its context: what a knob's values and legality depend on."""

    config: Mapping[str, Any]
    context: Context

    @property
    def batch(self) -> Batch | None:
        """The batch that the config means, or None where it leaves it open."""
        return resolve_batch(self.config, self.context)


@dataclass(kw_only=True, slots=True)
class Draft:
    """A configuration being rendered; ``config`` is a copy that knobs may write to."""

    base: Situation
    assignment: Assignment
    config: dict[str, Any]
    arguments: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    probe: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, base: Situation, assignment: Assignment) -> "Draft":
        """Start from a deep copy of the user's config."""
        return cls(base=base, assignment=assignment, config=copy.deepcopy(dict(base.config)))

    @property
    def situation(self) -> Situation:
        """The draft's own config in the same context: what it means so far."""
        return Situation(config=self.config, context=self.base.context)

    def write(self, key: str, value: Any) -> None:
        """Set the value at a dotted key path, making the sections on the way."""
        here: MutableMapping[str, Any] = self.config
        *sections, name = key.split(".")
        for section in sections:
            if not isinstance(here.get(section), MutableMapping):
                here[section] = {}
            here = here[section]
        here[name] = value


def anything(value: Value) -> str | None:
    """Accept every value."""
    return None


def never(situation: Situation) -> str | None:
    """A knob that no situation rules out."""
    return None


def anywhere(situation: Situation, value: Value) -> str | None:
    """A knob whose values can be had in every situation."""
    return None


def always(assignment: Assignment) -> bool:
    """A knob that depends on no other."""
    return True


@dataclass(frozen=True, kw_only=True, slots=True)
class Knob:
    """One thing that a study may change."""

    name: str
    applied: Applied
    summary: str
    """What it is, one line."""
    reason: str
    """Why changing it can pay, one line for the recommendation."""
    read: Callable[[Situation], Value | None]
    """What the config means now; None where it says too little."""
    values: Callable[[Situation], Sequence[Value]]
    """Candidates by default, in order; the user's own value is added by the space."""
    apply: Callable[[Draft, Value], None]
    """Write a value that differs from what the draft already means."""
    accepts: Callable[[Value], str | None] = anything
    """What is wrong with a value from a space file, or None."""
    refused: Callable[[Situation, Value], str | None] = anywhere
    """Why one value cannot be had here (a version, a device, an interface), or None."""
    pointless: Callable[[Situation], str | None] = never
    """Why it is illegal or can have no effect here, or None."""
    by_default: Callable[[Situation], bool] = lambda situation: True
    """Whether the default space offers it here; a space file may name it all the same."""
    active: Callable[[Assignment], bool] = always
    """Whether it acts beside the values already chosen for the knobs before it."""
    depends_on: tuple[str, ...] = ()
    """Names of the knobs that ``active`` looks at; each comes before this one in the registry."""
    path: str = ""
    """The key path, option, variable or probe setting that it writes."""
    aliases: tuple[str, ...] = ()
    """Other names of the path, which it writes where the user has them."""
    changes_numerics: bool = False
    """Whether the loss guard must watch it (more than the rounding of another order of sums)."""
    changes_checkpoint: bool = False
    """Whether a checkpoint saved with one value may not load with another."""
    structural: bool = False
    """Whether it decides what kind of training it is (stage, compression, compilation)."""
    ordered: bool = True
    """Whether neighbouring values behave alike."""
    weight: float = 1.0
    """How much of the speed it usually decides, against the others: what the search looks at first."""
    promising: Callable[[Sequence[Value]], Value | None] = lambda values: None
    """The value of a first guess, or None where there is no reason to prefer one."""
    witness: str = ""
    """What shows in a run that it acted."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Every name under which a change of it can stand in a configuration."""
        return (self.path or self.name, *self.aliases)


def whole_numbers(low: int, high: int | None = None) -> Callable[[Value], str | None]:
    """Accept whole numbers from ``low`` to ``high``."""

    def complaint(value: Value) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "is not a whole number"
        if value < low:
            return f"is below {low}"
        return f"is above {high}" if high is not None and value > high else None

    return complaint


def one_of(*allowed: Value) -> Callable[[Value], str | None]:
    """Accept the values listed, and none of another type that compares equal."""

    def complaint(value: Value) -> str | None:
        if any(value == other and type(value) is type(other) for other in allowed):
            return None
        return f"is not one of {', '.join(written(other) for other in allowed)}"

    return complaint


def written(value: Value) -> str:
    """Return a value as YAML, JSON and command lines write it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
