"""Random search: points drawn evenly from each knob's values, none twice."""

import json

import numpy as np

from flyball.tuners.base import Assignment
from flyball.tuners.space.space import Space

TRIES = 1000
"""Draws after which a space counts as used up."""


class RandomProposer:
    """Draws points, those that DeepSpeed would refuse thrown back."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._random = space, np.random.default_rng(seed)
        self._drawn = {_key(space.baseline_assignment())}

    def ask(self) -> Assignment | None:
        """Return a point that was not drawn before."""
        for _ in range(TRIES):
            point = self._space.draw(self._random)
            if _key(point) not in self._drawn and not self._space.findings(point):
                self._drawn.add(_key(point))
                return point
        return None

    def tell(self, rate: float | None) -> None:
        """Learn nothing."""


def _key(point: Assignment) -> str:
    return json.dumps(dict(point), sort_keys=True)
