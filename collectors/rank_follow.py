"""One rank that is followed: its journal, what is known from it, and whether its process still lives."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.collectors.journal_file import JournalRefused
from flyball.collectors.journal_follow import READ_BYTES, JournalFollower, Position, read_position
from flyball.collectors.processes import SAME_START_SECONDS
from flyball.collectors.run_state import RankState
from flyball.collectors.run_state_document import document_of, restore

ProcessStarted = Callable[[int], float | None]
"""When the living process of an id started, on the monotonic clock; None when there is none, or not seen."""

ProcessGone = Callable[[str, int, float], bool]
"""Whether a process has ended for certain, by PID namespace, id and start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Now:
    """One reading of the clocks, in seconds."""

    wall: float
    """Since the epoch."""
    monotonic: float


class FollowedRank:
    """A journal and its state.

    Args:
        folder: path of the run's folder, and its open descriptor.
        descriptor: the folder's; stays the caller's.
        run: the run's name.
        rank: the rank's number.
        same_owner: whether the journal must belong to whom the folder belongs to.
        document: what :meth:`document` wrote before a restart.
    """

    def __init__(
        self,
        folder: Path,
        descriptor: int,
        *,
        run: str,
        rank: int,
        same_owner: bool,
        document: Mapping[str, Any] | None = None,
    ) -> None:
        self.refused: JournalRefused | None = None
        """Why the journal is not read."""
        self.seen = False
        """Whether its process was seen alive under the journal's pid and start."""
        self._folder, self._run, self._rank = folder, run, rank
        self.state = self._new_state()
        self._over_since: float | None = None
        self._shown: RankState | None = None
        restored = self._restore(document) if document is not None else None
        self._journal = JournalFollower(
            descriptor, f"rank-{rank}.jsonl", same_owner=same_owner, position=restored
        )

    @property
    def known(self) -> bool:
        """Whether everything that was written when it was found has been read, and it is a rank's journal."""
        return self._journal.caught_up and self.state.pid > 0

    @property
    def catching_up(self) -> bool:
        """Whether what was written before it was found is still being read."""
        return not self._journal.caught_up and self.refused is None

    @property
    def modified(self) -> float:
        """When its journal was last written, seconds since the epoch."""
        return self._journal.modified

    def read(self, now: Now, limit_bytes: int = READ_BYTES) -> int:
        """Read on; return the bytes that came."""
        torn, live = self._journal.torn_lines, self._journal.caught_up
        self.refused, taken = None, 0
        try:
            taken = self._journal.read(self.state.feed, limit_bytes)
        except JournalRefused as refused:
            self.refused = refused
        self.state.torn_lines += self._journal.torn_lines - torn
        if taken:
            self._shown = None
            if self.state.phase == "finished":
                self._ended(now, now.wall if live else self.modified)
            else:
                self._over_since = None
        return taken

    def watch(self, now: Now, started: ProcessStarted, *, gone: ProcessGone, silence_seconds: float) -> None:
        """See whether its process is gone; of one in another PID namespace only its silence tells."""
        state = self.state
        if not self.known:
            return
        if state.phase == "finished":
            if self._over_since is None:
                self._ended(now, state.finished_time or 0.0)
            return
        found = started(state.pid)
        if found is not None and abs(found - state.started) < SAME_START_SECONDS:
            self.seen = True
        elif (
            self.seen
            or now.wall - self.modified > silence_seconds
            or gone(state.pid_namespace, state.pid, state.started)
        ) and not self.read(now):
            # What it wrote before it went has been read.
            when = now.wall if self.seen else self.modified
            state.finish(when, state.outcome or "gone")
            self._ended(now, when)

    def is_over(self, now: Now, finished_seconds: float) -> bool:
        """Whether it ended longer ago than its series are kept."""
        return self._over_since is not None and now.monotonic - self._over_since > finished_seconds

    def _ended(self, now: Now, when: float) -> None:
        when = min(when, now.wall)
        # Kept on the monotonic clock from here on: the wall clock may be set.
        self._over_since = now.monotonic - (now.wall - when)
        self.state.finished_time = when
        self.seen, self._shown = False, None

    def shown(self, now_clock: float) -> RankState:
        """The state for other threads."""
        if self._shown is None or self.state.pending:
            self._shown = self.state.copy(now_clock)
        return self._shown

    def document(self) -> dict[str, Any] | None:
        """As JSON, for a restart: how far it was read, and what that added up to."""
        position = self._journal.position()
        if position is None:
            return None
        return {"position": position.document(), "seen": self.seen, "state": document_of(self.state)}

    def close(self) -> None:
        """Give the journal back."""
        self._journal.close()

    def _new_state(self) -> RankState:
        return RankState(run=self._run, rank=self._rank, folder=self._folder)

    def _restore(self, document: Mapping[str, Any]) -> Position | None:
        position = read_position(document.get("position"))
        try:
            restore(self.state, document["state"])
            self.seen = document["seen"] is True
        except (AttributeError, KeyError, TypeError, ValueError):
            # Without its tallies an offset is worth nothing: the journal is read from its begin.
            self.state, position = self._new_state(), None
        return position
