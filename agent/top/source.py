"""Where snapshots come from."""

from typing import Protocol

from flyball.agent.top.snapshot import Snapshot


class Source(Protocol):
    """Gives snapshots; never waits longer than it is told."""

    def ask(self) -> None:
        """Begin a new reading of everything that is not still busy with the last."""
        ...

    def wait(self, seconds: float) -> bool:
        """Wait up to ``seconds`` for the answers; whether all are there."""
        ...

    def snapshot(self) -> Snapshot:
        """What is known now; what has not answered yet is left out and named."""
        ...

    def settled(self) -> bool:
        """Whether all that was written before the first reading has been read."""
        ...

    def close(self) -> None:
        """Give back what it holds; what hangs is left behind."""
        ...
