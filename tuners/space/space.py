"""The space of one study: the knobs that are legal here and can matter, each with its values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.trial import Trial

from flyball.tuners.base import Assignment, Configuration, Value
from flyball.tuners.knobs.knob import Knob, Situation
from flyball.tuners.knobs.registry import BY_NAME, KNOBS
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding
from flyball.tuners.legality.rules import check, errors
from flyball.tuners.space.render import UNTOUCHED, render
from flyball.tuners.space.space_file import Wish, read_wishes

GLOBAL_BATCH = "global_batch"
HELD = "seconds a step compare only at one global batch: the latency objective holds it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One knob of a space."""

    knob: Knob
    values: tuple[Value, ...]
    """In order where the knob is ordered; the user's own is among them."""
    current: Value
    source: str
    """``file:line`` that asked for it."""

    @property
    def ordered(self) -> bool:
        """Whether neighbouring values are alike, and there are enough of them for that to say anything."""
        return self.knob.ordered and len(self.values) > 2 and UNTOUCHED not in self.values

    @property
    def distribution(self) -> BaseDistribution:
        """How Optuna sees it: the position among ordered values, else the value itself."""
        if self.ordered:
            return IntDistribution(0, len(self.values) - 1)
        return CategoricalDistribution(self.values)

    def parameter(self, value: Value) -> Value:
        """Return Optuna's parameter for a value."""
        return self.values.index(value) if self.ordered else value

    def value(self, parameter: Any) -> Value:
        """Return the value for Optuna's parameter."""
        if self.ordered:
            return self.values[int(parameter)]
        return next(value for value in self.values if value == parameter)


@dataclass(frozen=True, kw_only=True)
class Space:
    """A finite set of assignments, no two of them the same experiment by construction."""

    situation: Situation
    entries: tuple[Entry, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Knob, or knob and value, to the reason why it is not varied."""

    @property
    def knobs(self) -> tuple[Knob, ...]:
        """Every knob that an assignment of this space can name."""
        known = {knob.name for knob in KNOBS}
        return (*KNOBS, *(entry.knob for entry in self.entries if entry.knob.name not in known))

    @property
    def sources(self) -> Mapping[str, str]:
        """Knob to the ``file:line`` that asked for it."""
        return {entry.knob.name: entry.source for entry in self.entries}

    def entry(self, name: str) -> Entry:
        """Return the entry of one knob."""
        return next(entry for entry in self.entries if entry.knob.name == name)

    @cached_property
    def fixed(self) -> Mapping[str, Value]:
        """Return what the user's config means for every knob: the values of those that are not varied."""
        return own_values(self.situation)

    def walk(self, choose: Any) -> dict[str, Value]:
        """Build an assignment: ``choose(entry)`` for each knob that acts beside those chosen before it."""
        chosen: dict[str, Value] = {}
        background = self.fixed
        for entry in self.entries:
            if entry.knob.active({**background, **chosen}):
                chosen[entry.knob.name] = choose(entry)
        return chosen

    def baseline_assignment(self) -> Assignment:
        """Return the user's own point."""
        return self.walk(lambda entry: entry.current)

    def suggest(self, trial: Trial) -> Assignment:
        """Ask Optuna for a point."""

        def ask(entry: Entry) -> Value:
            if entry.ordered:
                return entry.value(trial.suggest_int(entry.knob.name, 0, len(entry.values) - 1))
            return entry.value(trial.suggest_categorical(entry.knob.name, entry.values))

        return self.walk(ask)

    def completed(self, wished: Mapping[str, Value]) -> Assignment:
        """Return the point nearest to what is wished: unknown values and absent knobs take the user's own."""

        def take(entry: Entry) -> Value:
            value = wished.get(entry.knob.name, entry.current)
            return value if value in entry.values else entry.current

        return self.walk(take)

    def parameters(self, assignment: Assignment) -> dict[str, Any]:
        """Return Optuna's parameters for a point of this space."""
        return {name: self.entry(name).parameter(value) for name, value in assignment.items()}

    def distributions(self, assignment: Assignment) -> dict[str, BaseDistribution]:
        """Return Optuna's distributions for the knobs of a point."""
        return {name: self.entry(name).distribution for name in assignment}

    def render(self, assignment: Assignment) -> Configuration:
        """Return what a trial at ``assignment`` applies."""
        return render(self.situation.config, assignment, self.situation.context, self.knobs)

    def findings(self, assignment: Assignment) -> list[Finding]:
        """Return what DeepSpeed would refuse at ``assignment`` and accepts at the user's own point."""
        return new_errors(self.situation, self.render(assignment).ds_config, known=self._own_errors)

    @cached_property
    def _own_errors(self) -> frozenset[tuple[str, str]]:
        return own_errors(self.situation)

    def enumerate(self) -> Iterator[Assignment]:
        """Every legal point, the last knobs moving fastest."""
        for assignment in self._points(0, {}, self.fixed):
            if not self.findings(assignment):
                yield assignment

    def _points(
        self, index: int, chosen: dict[str, Value], background: Mapping[str, Value]
    ) -> Iterator[dict[str, Value]]:
        if index == len(self.entries):
            yield dict(chosen)
            return
        entry = self.entries[index]
        if not entry.knob.active({**background, **chosen}):
            yield from self._points(index + 1, chosen, background)
            return
        for value in entry.values:
            yield from self._points(index + 1, {**chosen, entry.knob.name: value}, background)

    def draw(self, random: np.random.Generator) -> Assignment:
        """Return a random point, legal or not."""
        return self.walk(lambda entry: entry.values[int(random.integers(len(entry.values)))])

    def neighbours(self, assignment: Assignment) -> Iterator[Assignment]:
        """Return every point that differs from one in one knob's value, legal or not."""
        for entry in self.entries:
            if entry.knob.name in assignment:
                for value in entry.values:
                    if value != assignment[entry.knob.name]:
                        yield self.completed({**assignment, entry.knob.name: value})

    def size(self) -> int:
        """Return the number of points, before the legality rules take out combinations."""
        deciding = sorted({name for entry in self.entries for name in entry.knob.depends_on})
        background = self.fixed
        counted: dict[tuple[Any, ...], int] = {}

        def count(index: int, chosen: Mapping[str, Value]) -> int:
            if index == len(self.entries):
                return 1
            key = (index, *(chosen.get(name) for name in deciding))
            if key not in counted:
                counted[key] = below(index, chosen)
            return counted[key]

        def below(index: int, chosen: Mapping[str, Value]) -> int:
            entry = self.entries[index]
            name = entry.knob.name
            if not entry.knob.active({**background, **chosen}):
                return count(index + 1, chosen)
            if name not in deciding:
                return len(entry.values) * count(index + 1, chosen)
            return sum(count(index + 1, {**chosen, name: value}) for value in entry.values)

        return count(0, {})


def load_space(
    path: Path | None,
    config: Mapping[str, Any],
    context: Context,
    *,
    allow_global_batch: bool = False,
    hold_global_batch: bool = False,
) -> Space:
    """Return the space that a file (None: the default one) means for this config in this context.

    Args:
        allow_global_batch: vary the global batch too, by the knob's own values where the file lists none.
        hold_global_batch: leave it as it is, whatever the file says.

    Raises:
        SpaceError: the file is malformed, with file, line and mend.
    """
    situation = Situation(config=config, context=context)
    entries: list[Entry] = []
    left_out: dict[str, str] = {}
    wishes = read_wishes(path)
    if allow_global_batch and all(wish.knob.name != GLOBAL_BATCH for wish in wishes):
        knob = BY_NAME[GLOBAL_BATCH]
        asked = Wish(knob=knob, values=tuple(knob.values(situation)), source="--allow-global-batch")
        wishes = (asked, *wishes)
    for wish in wishes:
        if hold_global_batch and wish.knob.name == GLOBAL_BATCH:
            left_out[GLOBAL_BATCH] = HELD
            continue
        entry = _entry(wish, situation, left_out)
        if entry is not None:
            entries.append(entry)
    return Space(situation=situation, entries=tuple(entries), left_out=left_out)


def _entry(wish: Wish, situation: Situation, left_out: dict[str, str]) -> Entry | None:
    knob = wish.knob
    reason = knob.pointless(situation)
    if reason is None and wish.values is None and not knob.by_default(situation):
        reason = "not offered by default here; a space file may list its values"
    if reason is not None:
        left_out[knob.name] = reason
        return None
    current = knob.read(situation)
    own: Value = UNTOUCHED if current is None else current
    asked = knob.values(situation) if wish.values is None else wish.values
    entry = Entry(knob=knob, values=_together(knob, asked, own), current=own, source=wish.source)
    legal = tuple(value for value in entry.values if _legal(entry, value, situation, left_out))
    if len(legal) < 2:
        left_out.setdefault(knob.name, "nothing to choose from")
        return None
    return Entry(knob=knob, values=legal, current=own, source=wish.source)


def _together(knob: Knob, asked: Any, own: Value) -> tuple[Value, ...]:
    values = list(asked) if own in asked else [own, *asked]
    if knob.ordered and all(isinstance(value, int | float) for value in values):
        values.sort()
    return tuple(values)


def _legal(entry: Entry, value: Value, situation: Situation, left_out: dict[str, str]) -> bool:
    """Whether one value, everything else as the user has it, is something DeepSpeed accepts."""
    if value == entry.current:
        return True
    refused = entry.knob.refused(situation, value)
    if refused is not None:
        left_out[f"{entry.knob.name}={value}"] = refused
        return False
    if not entry.knob.active(own_values(situation)):
        # Whether DeepSpeed takes it depends on the knobs that let it act: each whole point is judged.
        return True
    knobs = (*KNOBS, entry.knob) if entry.knob not in KNOBS else KNOBS
    configuration = render(situation.config, {entry.knob.name: value}, situation.context, knobs)
    found = new_errors(situation, configuration.ds_config)
    if found:
        left_out[f"{entry.knob.name}={value}"] = found[0].what
    return not found


def own_values(situation: Situation) -> dict[str, Value]:
    """Return what the user's config means for every knob, where it says that."""
    found = ((knob.name, knob.read(situation)) for knob in KNOBS)
    return {name: value for name, value in found if value is not None}


def own_errors(situation: Situation) -> frozenset[tuple[str, str]]:
    """Return key and text of the errors that the user's own config has."""
    return frozenset(
        (finding.key, finding.what) for finding in errors(check(situation.config, situation.context))
    )


def new_errors(
    situation: Situation, config: Mapping[str, Any], *, known: frozenset[tuple[str, str]] | None = None
) -> list[Finding]:
    """Return the errors of ``config`` that the user's own config does not have.

    Args:
        situation: the user's own.
        config: judged in its context.
        known: errors of the user's own, where they were worked out before.
    """
    before = own_errors(situation) if known is None else known
    after = errors(check(config, situation.context))
    return [finding for finding in after if (finding.key, finding.what) not in before]
