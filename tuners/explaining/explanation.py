"""What explains a study's verdict: what decided, what each change brings, what it cost, what was left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from flyball.tuners.base import Configuration, Interval, Value
from flyball.tuners.explaining.study_cost import Cost, Payback


@dataclass(frozen=True, kw_only=True, slots=True)
class KnobShare:
    """How much one knob decides."""

    knob: str
    share: Interval
    """Of the variance over the space, from 0 to 1: what is left to 1 is other knobs, and knobs together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Importance:
    """What decides one thing, the most important knob first; or why that cannot be said."""

    knobs: tuple[KnobShare, ...] = ()
    points: int = 0
    """Configurations that it rests on."""
    explained: float | None = None
    """Share of the variance of held-out configurations that is explained; below 0 worse than their mean."""
    reason: str = ""
    """Why there are no knobs; empty where there are."""

    @property
    def order(self) -> Mapping[str, float]:
        """Knob to the middle of its share."""
        return {each.knob: each.share.point for each in self.knobs}


@dataclass(frozen=True, kw_only=True, slots=True)
class Reversion:
    """One knob put back, with whatever cannot stay as recommended without it."""

    knob: str
    together: tuple[str, ...]
    """Other changed knobs that go back with it, because they only act beside its recommended value."""
    paths: tuple[str, ...]
    """Key paths, options, variables and probe knobs that are as the user has them again."""
    own: Value
    recommended: Value
    configuration: Configuration
    impossible: str | None = None
    """Why it cannot be run, or None."""


class EffectKind(StrEnum):
    """What the runs say of one changed knob."""

    FASTER = "faster"
    """The recommended is faster with it, for certain."""
    SLOWER = "slower"
    """The recommended would be faster without it."""
    NOTHING_MEASURABLE = "nothing_measurable"
    """Without it nothing measurable is lost: it may be left out."""
    UNCLEAR = "unclear"
    """Too few or too noisy runs to tell."""
    NEEDED = "needed"
    """Without it the run fails."""
    NOT_MEASURED = "not_measured"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnobEffect:
    """What is known of one changed knob."""

    reversion: Reversion
    kind: EffectKind
    ratio: Interval | None = None
    """The recommended's rate over the rate without the knob: above 1 the knob pays."""
    rounds: int = 0
    reason: str = ""
    """Why it was not measured, or how the run without it failed."""
    by_verification: bool = False
    """Whether the knob is all that was changed, so that verification has measured it."""


class Because(StrEnum):
    """The kinds of reasons."""

    OUTSIDE = "outside_the_space"
    EXCLUDED = "excluded"
    """By legality, capability, version or hardware."""
    NOT_ENTERED = "not_entered"
    SCREENED = "screened_out"
    MEMORY = "memory"
    BUDGET = "budget"


@dataclass(frozen=True, kw_only=True, slots=True)
class NotTried:
    """Things not tried for one reason."""

    because: Because
    reason: str
    items: tuple[str, ...]
    """The first few."""
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """Everything beside the verdict that makes it understood; nothing of it decides."""

    speed: Importance
    """Which knobs decided the speed."""
    memory: Importance | None
    """Which knobs decided what fits into memory; None where nearly all fitted, or nearly none."""
    effects: tuple[KnobEffect, ...]
    """Of each changed knob, the most important first; none where nothing is recommended."""
    cost: Cost
    payback: Payback | None
    """None without a recommended gain."""
    not_tried: tuple[NotTried, ...]

    def by_path(self) -> Mapping[str, KnobEffect]:
        """Return the effects by the one path that stands for each in a list of changes."""
        return {each.reversion.paths[0]: each for each in self.effects if each.reversion.paths}

    def dispensable(self) -> tuple[KnobEffect, ...]:
        """Return the changes without which nothing measurable is lost."""
        return tuple(each for each in self.effects if each.kind is EffectKind.NOTHING_MEASURABLE)
