"""First guesses: the moves that most often pay, before anything is measured but the user's own config."""

from collections.abc import Iterator, Sequence

from flyball.tuners.base import Assignment, Value
from flyball.tuners.space.space import Entry, Space

HEAVY = 3.0
"""Knobs of at least this weight are guessed one after the other, the rest together."""


def first_guesses(space: Space) -> list[Assignment]:
    """Return a few points, each going further from the user's own than the one before.

    First the micro batch goes up at the fixed global batch, then the stage goes down, then compilation comes
    on; then every other knob takes its promising value.
    """
    wished: dict[str, Value] = dict(space.baseline_assignment())
    guesses: list[Assignment] = []
    light: dict[str, Value] = {}
    for entry in space.entries:
        value = entry.knob.promising(entry.values)
        if value is None or value not in entry.values:
            continue
        if entry.knob.weight >= HEAVY:
            wished[entry.knob.name] = value
            guesses.append(space.completed(wished))
        else:
            light[entry.knob.name] = value
    if light:
        guesses.append(space.completed({**wished, **light}))
    return distinct(guesses, space.baseline_assignment())


def suggested_guesses(space: Space, suggested: Sequence[str]) -> list[list[Assignment]]:
    """Return guesses for knobs that alerts suggest, in the order of the knobs; of each list one is enough.

    A knob takes its promising value, on top of those of the knobs before it. Of a knob that has none, or has
    it already, the values next to the user's own are guesses of their own: which way helps is not known.
    Behind each guess stands the same knob alone, for where the others run out of memory.
    """
    entries = {entry.knob.name: entry for entry in space.entries}
    own = dict(space.baseline_assignment())
    wished: dict[str, Value] = dict(own)
    guesses: list[list[Assignment]] = []
    for name in dict.fromkeys(suggested):
        entry = entries.get(name)
        if entry is None:
            continue
        promising = entry.knob.promising(entry.values)
        is_new = promising in entry.values and promising != own.get(name)
        for value in [promising] if is_new and promising is not None else _next_to_own(entry):
            both = [space.completed({**wished, name: value}), space.completed({**own, name: value})]
            guesses.append(distinct(both, space.baseline_assignment()))
        if is_new and promising is not None:
            wished[name] = promising
    return [each for each in guesses if each]


def _next_to_own(entry: Entry) -> Iterator[Value]:
    place = entry.values.index(entry.current)
    if place > 0:
        yield entry.values[place - 1]
    if place + 1 < len(entry.values):
        yield entry.values[place + 1]


def distinct(points: list[Assignment], known: Assignment) -> list[Assignment]:
    """Return the points without repetitions and without ``known``, in order."""
    kept: list[Assignment] = []
    for point in points:
        if point != known and point not in kept:
            kept.append(point)
    return kept
