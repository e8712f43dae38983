"""First guesses: the moves that most often pay, before anything is measured but the user's own config."""

from flyball.tuners.base import Assignment, Value
from flyball.tuners.space import Space

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


def distinct(points: list[Assignment], known: Assignment) -> list[Assignment]:
    """Return the points without repetitions and without ``known``, in order."""
    kept: list[Assignment] = []
    for point in points:
        if point != known and point not in kept:
            kept.append(point)
    return kept
