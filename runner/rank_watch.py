"""Follows the ranks of one start of a command by their heartbeats; ends them where none goes on."""

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyball.clock import Clock
from flyball.runner.probe.heartbeat import STARTING, STEPPING, read_heartbeats
from flyball.runner.process_tree import Process, all_processes, end_all, environment_of, read_process

LEAST_HANG_SECONDS = 300.0
"""How long at least nothing is taken for a hang, unless the user says so."""
HANG_STEPS = 10.0
"""How many times the longest step so far a hang lasts at least."""
_START_FACTOR = 3.0
_LOOK_SECONDS = 0.5
_STOPPED_SECONDS = 5.0
"""Since the last look: then this process was stopped itself, and the ranks with it."""
_GRACE_SECONDS = 5.0


def processes_of(folder: Path) -> list[Process]:
    """Every living process that was started with the probe of a run's folder."""
    site = str(folder / "site")
    return [
        each
        for each in all_processes()
        if each.pid != os.getpid() and each.state not in "ZX" and _search_path(each.pid)[0] == site
    ]


def _search_path(pid: int) -> list[str]:
    return environment_of(pid).get("PYTHONPATH", "").split(os.pathsep)


def _lives(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.state not in "ZX"


def end_ranks(folder: Path) -> list[int]:
    """End whatever a run has started; return the ids."""
    return end_all(lambda: processes_of(folder), grace_seconds=_GRACE_SECONDS)


@dataclass(kw_only=True)
class RankWatch:
    """One start, from the moment that its processes begin."""

    folder: Path
    clock: Clock
    hang_seconds: float | None = None
    """What the user takes for a hang; None derives it from the steps."""
    usual_start_seconds: float | None = None
    """How long a start before took to its first step; None where that is not known, which has no limit."""
    first_step: Callable[[float], None] = lambda _: None
    """Called once with the clock's time of the first step of this start."""
    hung: str | None = None
    """Why the ranks were ended."""
    furthest_step: int | None = None
    last_sign: float | None = None
    """When a rank last said something, on the monotonic clock."""
    began: float = 0.0
    stepped: float | None = None
    """When the first step of this start was seen, on the monotonic clock."""
    _seen: float = 0.0
    _held: float = 0.0
    """Until then this process was stopped."""
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self.began = self._seen = self.clock.monotonic()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """The command has ended."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self.look(may_end=False)

    @property
    def start_seconds(self) -> float | None:
        """From the beginning to the first step."""
        return None if self.stepped is None else self.stepped - self.began

    def _watch(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            self.look()
            if self.hung is not None:
                end_ranks(self.folder)
                return

    def look(self, *, may_end: bool = True) -> None:
        """Read the heartbeats once."""
        now = self.clock.monotonic()
        if now - self._seen > _STOPPED_SECONDS:
            self.began += now - self._seen
            self._held = now
        self._seen = now
        beats = read_heartbeats(str(self.folder))
        steps = [beat["step"] for beat in beats if beat["step"] is not None]
        if beats:
            self.last_sign = max(beat["clock"] for beat in beats)
        if steps:
            self.furthest_step = max(steps)
            if self.stepped is None:
                self.stepped = max(beat["clock"] for beat in beats)
                self.first_step(self.stepped)
        if may_end and beats:
            self.hung = self._hang(beats, now)

    def _hang(self, beats: Sequence[Mapping[str, Any]], now: float) -> str | None:
        if not all(beat["watched"] for beat in beats):
            return None
        # A rank that is gone keeps what it did last for ever.
        living = [beat for beat in beats if _lives(beat["pid"])] or beats
        phases = {beat["phase"] for beat in living}
        if phases == {STARTING}:
            limit = self._start_limit()
            silent = now - self.began
            what = "no first step"
        elif phases in ({STEPPING}, {STARTING, STEPPING}):
            limit = self.hang_seconds or max(
                LEAST_HANG_SECONDS, HANG_STEPS * max(beat["longest_seconds"] for beat in beats)
            )
            silent = now - max(self._held, *(beat["clock"] for beat in beats))
            what = f"a hang after step {self.furthest_step}: no step"
        else:
            return None
        return f"{what} for {silent:.0f} s" if limit is not None and silent > limit else None

    def _start_limit(self) -> float | None:
        if self.usual_start_seconds is None:
            return None
        least = max(self.hang_seconds or 0.0, LEAST_HANG_SECONDS)
        return max(least, _START_FACTOR * self.usual_start_seconds)
