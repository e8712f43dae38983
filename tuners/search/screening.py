"""Screening: a run in each family of a space that has many, before the sampler goes into the best of them."""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from flyball.tuners.base import Assignment
from flyball.tuners.search.surrogate import Observation, Surrogate
from flyball.tuners.space.families import LOST, Families, Family

FEWEST_RUNS = 8
"""Before a family is left, so many runs must have told something."""
SURELY = 2.0
"""Standard deviations at which a family is certainly behind."""


@dataclass(kw_only=True)
class Screening:
    """Which families of one space are still to be entered, and which are left.

    Args:
        families: of the space.
        surrogate: of the space.
        wanted: how many families are entered before the sampler goes on; 0 screens none.
    """

    families: Families
    surrogate: Surrogate
    wanted: int
    left: dict[Family, str] = field(default_factory=dict)
    """Families that certainly lose, to the reason."""

    def learn(self, seen: Sequence[Observation]) -> None:
        """Leave the families whose best run is certainly behind, by what all runs say of it."""
        ran = [each for each in seen if each.value]
        if not self.wanted or len(ran) < FEWEST_RUNS:
            return
        leaders: dict[Family, Observation] = {}
        for each in sorted(ran, key=lambda each: each.value or 0.0):
            leaders[self.families.of(each.assignment)] = each
        belief = self.surrogate.belief(ran, [each.assignment for each in leaders.values()])
        best = int(belief.means.argmax())
        self.left = {}
        for place, (family, leader) in enumerate(leaders.items()):
            behind = float(belief.means[best] - belief.means[place])
            surely = behind - SURELY * belief.error(best, place)
            if surely > LOST:
                named = self.families.named(leader.assignment)
                self.left[family] = f"{named}: at least {1 - math.exp(-surely):.0%} behind the best"

    def members(self, seen: Sequence[Observation], tried: Collection[Assignment]) -> Iterator[Assignment]:
        """Yield a member of each family that no run was of, the most promising first.

        Its other knobs are as the best so far has them.
        """
        entered = {self.families.of(point) for point in tried}
        ran = [each for each in seen if each.value]
        if len(entered) >= self.wanted or not ran:
            return
        best = max(ran, key=lambda each: each.value or 0.0).assignment
        found = [member for family, member in self.families.nearest_to(best) if family not in entered]
        if found:
            gains = self.surrogate.expected_improvement(seen, found)
            yield from (found[int(index)] for index in np.argsort(-gains, kind="stable"))

    def is_left(self, point: Assignment) -> bool:
        """Whether a point is of a family that is left."""
        return self.families.of(point) in self.left
