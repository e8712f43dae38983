"""Families: the combinations of structure in a space, which decide what kind of training it is.

Which knobs are structure is declared on the knob; one that decides whether others act is structure as well.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from flyball.tuners.base import Assignment, Value
from flyball.tuners.knobs.knob import written
from flyball.tuners.space.space import Entry, Space

SCREENED_SHARE = 0.5
"""Of the trials: what screening may take, the user's own family and the first guesses included."""
FEWEST_FAMILIES = 8
"""With fewer the surrogate alone comes to each that matters."""
LOST = 0.1
"""In log rate: a family whose best is certainly so far behind is left."""
MOST_FAMILIES = 256
"""Combinations that are looked at one by one; a space of more is not divided."""

Family = tuple[Value | None, ...]
"""Values of the structural knobs, None where one does not act."""


@dataclass(frozen=True, kw_only=True)
class Families:
    """The families of one space."""

    space: Space

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Return the structural knobs; none where there are too many combinations."""
        found = tuple(entry for entry in self.space.entries if structural(entry, self.space))
        size = 1
        for entry in found:
            size *= len(entry.values)
        return found if size <= MOST_FAMILIES else ()

    def of(self, point: Assignment) -> Family:
        """Return the family of a point."""
        return tuple(point.get(entry.knob.name) for entry in self.entries)

    def nearest_to(self, point: Assignment) -> Iterator[tuple[Family, Assignment]]:
        """Return every family, legal or not, with its member whose other knobs are as those of a point."""
        seen: set[Family] = set()
        names = [entry.knob.name for entry in self.entries]
        if not names:
            return
        for values in itertools.product(*(entry.values for entry in self.entries)):
            member = self.space.completed({**point, **dict(zip(names, values, strict=True))})
            family = self.of(member)
            if family not in seen:
                seen.add(family)
                yield family, member

    def to_screen(self, trials: int) -> int:
        """Return how many families a search of so many trials screens; 0 leaves it to the surrogate."""
        number = sum(1 for _ in self.nearest_to(self.space.baseline_assignment()))
        return min(number, int(trials * SCREENED_SHARE)) if number >= FEWEST_FAMILIES else 0

    def named(self, point: Assignment) -> str:
        """Return the family of a point in words."""
        names = (entry.knob.name for entry in self.entries)
        return ", ".join(f"{name}={written(point[name])}" for name in names if name in point)


def structural(entry: Entry, space: Space) -> bool:
    """Whether a knob decides what kind of training it is: by its declaration, or because others act by it."""
    decides = any(entry.knob.name in other.knob.depends_on for other in space.entries)
    return decides or entry.knob.structural
