"""Exhaustive grid: every legal point in order, until the budget ends it."""

from flyball.tuners.base import Assignment
from flyball.tuners.space.space import Space


class GridProposer:
    """Walks the space, its last knobs moving fastest."""

    def __init__(self, space: Space, seed: int) -> None:
        del seed
        own = space.baseline_assignment()
        self._points = (point for point in space.enumerate() if point != own)

    def ask(self) -> Assignment | None:
        """Return the next point."""
        return next(self._points, None)

    def tell(self, rate: float | None) -> None:
        """Learn nothing."""
