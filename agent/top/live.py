"""The live view: reads, draws, waits, until it is left."""

from collections import deque
from typing import TextIO

from rich.live import Live
from rich.text import Text

from flyball.agent.live_console import live_console
from flyball.agent.top.build import build
from flyball.agent.top.render import Page
from flyball.agent.top.snapshot import Snapshot
from flyball.agent.top.source import Source
from flyball.agent.top.terminal import Happening, Terminal
from flyball.clock import Clock

_FIRST_SECONDS = 1.0
"""From the first reading to the second, which makes rates of it."""
_KEPT = 8
"""Snapshots: an agent reads the host less often than it is asked."""
_LATE_SECONDS = 1.0
"""An answer that takes longer comes with a view of its own."""


class LiveTop:
    """Draws a source again and again.

    Args:
        source: what to show.
        terminal: entered by the caller.
        stream: where the terminal is written to.
        clock: time.
        interval_seconds: from one reading to the next.
    """

    def __init__(
        self, source: Source, terminal: Terminal, stream: TextIO, *, clock: Clock, interval_seconds: float
    ) -> None:
        self._source, self._terminal, self._clock = source, terminal, clock
        self._interval_seconds = interval_seconds
        self._console = live_console(stream)
        self._now: Snapshot | None = None
        self._earlier: deque[Snapshot] = deque(maxlen=_KEPT)

    def run(self) -> None:
        """Return when the user leaves; the screen is as it was before, whatever happens."""
        while self._show():
            self._terminal.give_keys_back()
            self._terminal.suspend()
            self._terminal.take_keys()

    def _show(self) -> bool:
        """Draw until the user leaves, or suspends: then it returns True."""
        with Live(
            Text("reading ..."),
            console=self._console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live:
            left: Happening | None = None
            while left is None:
                left = self._next_view(live)
            return left is Happening.SUSPENDED

    def _next_view(self, live: Live) -> Happening | None:
        """Read, draw and wait for an interval; what the user wants else, or None."""
        rates = self._now is not None
        until = self._clock.monotonic() + (self._interval_seconds if rates else _FIRST_SECONDS)
        if self._now is not None:
            self._earlier.appendleft(self._now)
        self._source.ask()
        left = self._until(min(until, self._clock.monotonic() + _LATE_SECONDS), live, answers=True)
        while left is None:
            late = not self._source.wait(0)
            self._now = self._source.snapshot()
            self._draw(live)
            left = self._until(until, live, answers=late)
            if not late or self._clock.monotonic() >= until:
                break
        return left

    def _until(self, time: float, live: Live, *, answers: bool) -> Happening | None:
        """Wait until it is time, or all answers are there; what the user wants else, or None."""
        while (seconds := time - self._clock.monotonic()) > 0 and not (answers and self._source.wait(0)):
            happening = self._terminal.wait(seconds)
            if happening in (Happening.QUIT, Happening.SUSPENDED):
                return happening
            if happening is Happening.RESIZED:
                self._draw(live)
        return None

    def _draw(self, live: Live) -> None:
        if self._now is not None:
            live.update(Page(build(self._now, self._earlier), endless=False), refresh=True)
