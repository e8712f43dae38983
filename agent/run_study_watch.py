"""Watches beside a run of a study, in threads that nobody waits for: its first step, and its lease."""

import contextlib
import threading
from dataclasses import dataclass, field
from pathlib import Path

from flyball.collectors.journal import read_folder
from flyball.runner.process_tree import Process, descendants, end_all, read_process

_LOOK_SECONDS = 2.0
_GRACE_SECONDS = 15.0


@dataclass(kw_only=True)
class FirstStepWatch:
    """Ends a run that made no step in time."""

    folder: Path
    pid: int
    seconds: float
    hung: str | None = None
    """Why it was ended by us."""
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The command has ended; where we ended it, wait until all of it has."""
        self._over.set()
        if self._thread is not None and self.hung is not None:
            self._thread.join(2 * _GRACE_SECONDS)

    def _watch(self) -> None:
        left = self.seconds
        while left > 0:
            if self._over.wait(min(_LOOK_SECONDS, left)) or self._stepped():
                return
            left -= _LOOK_SECONDS
        if self._stepped() or self._over.is_set():
            return
        self.hung = f"no first step within {self.seconds:.0f} s"
        root = read_process(self.pid)
        began = [*([root] if root else []), *descendants(self.pid)]
        end_all(lambda: [each for each in began if _lives(each)], grace_seconds=_GRACE_SECONDS)

    def _stepped(self) -> bool:
        return any(journal.last("step") is not None for journal in read_folder(self.folder).values())


def _lives(process: Process) -> bool:
    now = read_process(process.pid)
    return now is not None and now.start_ticks == process.start_ticks and now.state not in "ZX"


@dataclass(kw_only=True)
class LeaseWatch:
    """Says once a minute that the run still lives, for those who cannot see its process."""

    database_url: str
    experiment_id: int
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to renew."""
        threading.Thread(target=self._renew, daemon=True).start()

    def stop(self) -> None:
        """The run has ended."""
        self._over.set()

    def _renew(self) -> None:
        from flyball.database import open_database
        from flyball.history.owner import Owner
        from flyball.history.store import RENEW_SECONDS, History

        while not self._over.wait(RENEW_SECONDS):
            # A database that is away now may be back in a minute.
            with contextlib.suppress(Exception), open_database(self.database_url) as database:
                History(database).renew(self.experiment_id, Owner.current())
