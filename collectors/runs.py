"""The journals of one host's runs, read once for all collectors."""

from collections.abc import Sequence
from pathlib import Path

from flyball.clock import Clock
from flyball.collectors.run_state import RankState


class Runs:
    """Finds runs below its root folders and follows the journal of every rank."""

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        clock: Clock,
        host: str,
        positions: Path | None = None,
        finished_seconds: float = 60.0,
    ) -> None:
        self.roots, self.clock, self.host = tuple(roots), clock, host
        self.positions, self.finished_seconds = positions, finished_seconds
        self._ranks: list[RankState] = []

    def refresh(self, max_age_seconds: float = 0.5) -> Sequence[RankState]:
        """The ranks that are alive now."""
        del max_age_seconds
        return tuple(self._ranks)

    def save(self) -> None:
        """Write offsets and tallies, for a restart."""

    def close(self) -> None:
        """Close every journal."""
