"""Progress on a terminal: a table that redraws in place, and the notes above it."""

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flyball.agent.display_table import StudyTable
from flyball.agent.live_console import live_console
from flyball.agent.progress import Progress
from flyball.agent.text import clean
from flyball.clock import Clock, SystemClock
from flyball.tuners.base import Phase, TrialReport, Value

_REFRESHES_PER_SECOND = 4


class LiveDisplay:
    """A StudyObserver that redraws a table; gone at the end, when the summary takes its place."""

    def __init__(self, stream: TextIO, *, clock: Clock | None = None, console: Console | None = None) -> None:
        self._clock = clock or SystemClock()
        self._console = console or live_console(stream)
        self._progress = Progress(started=self._clock.monotonic())
        self._said: set[str] = set()
        # The table is drawn by a thread of its own while the study tells of the next event.
        self._lock = threading.RLock()
        self._live = Live(
            console=self._console,
            get_renderable=self.renderable,
            refresh_per_second=_REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        # rich hides the cursor; after a kill -9 it would stay hidden.
        self._console.show_cursor(True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def renderable(self) -> StudyTable:
        """Return the table of this moment."""
        return StudyTable(self._progress, now=self._clock.monotonic(), lock=self._lock)

    def study_started(self, name: str, output_directory: Path, budget_seconds: float | None) -> None:
        """Put the experiment's name into the header."""
        with self._lock:
            self._progress.name, self._progress.budget_seconds = name, budget_seconds
        self.note(f"{name}: results in {output_directory}")

    def note(self, text: str) -> None:
        """Print the user's line above the table, where it stays."""
        self._console.print(Text(clean(text)))

    def trial_started(self, number: int, phase: Phase, changes: Mapping[str, Value]) -> None:
        """Show what runs now."""
        with self._lock:
            self._progress.start_trial(number, phase, changes, now=self._clock.monotonic())

    def trial_progress(self, number: int, steps: int, samples_per_second: float | None) -> None:
        """Show how far the running trial is."""
        with self._lock:
            self._progress.advance_trial(number, steps, samples_per_second)

    def trial_finished(self, report: TrialReport, *, best: bool) -> None:
        """Move the running trial to the table; what it noted is said once."""
        with self._lock:
            self._progress.finish_trial(report, best=best)
        for text in report.notes:
            if text not in self._said:
                self._said.add(text)
                self.note(f"trial {report.number}: {text}")

    def time_left(self, seconds: float | None) -> None:
        """Show what the study expects."""
        with self._lock:
            self._progress.expect(seconds, now=self._clock.monotonic())
