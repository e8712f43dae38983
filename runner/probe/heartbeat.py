"""A few bytes a rank, written over in place at each step: whether it goes on, for who starts the run again.

The journal cannot say that: it ends where a disk is full, and the probe may switch itself off. Written over,
a block that was once allocated needs no room.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from typing import Any

STARTING, STEPPING = "starting", "stepping"
_SIZE = 256


def heartbeat_name(rank: int) -> str:
    """The file of one rank, in the run's folder."""
    return f"heartbeat-{rank}.json"


class Heartbeat:
    """One rank's; silent once it cannot be written."""

    def __init__(self, directory: str, rank: int) -> None:
        path = os.path.join(directory, heartbeat_name(rank))
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._fields: dict[str, Any] = {
            "rank": rank,
            "pid": os.getpid(),
            "step": None,
            "longest_seconds": 0.0,
        }
        self._phases: list[str] = []
        self._last: float | None = None
        self._beat(watched=True)

    def step(self, step: int, *, watched: bool) -> None:
        """An optimizer step is made; ``watched``: evaluations and checkpoints are still seen."""
        now = time.monotonic()
        if self._last is not None:
            longest = max(self._fields["longest_seconds"], now - self._last)
            self._fields["longest_seconds"] = longest
        self._last, self._fields["step"] = now, step
        self._beat(watched=watched)

    def begin(self, phase: str) -> None:
        """Something begins whose time is no step's."""
        self._phases.append(phase)
        self._beat(watched=True)

    def end(self, phase: str) -> None:
        """It ends."""
        if phase in self._phases:
            self._phases.remove(phase)
        self._last = time.monotonic()
        self._beat(watched=True)

    def _beat(self, *, watched: bool) -> None:
        between = STARTING if self._fields["step"] is None else STEPPING
        phase = self._phases[-1] if self._phases else between
        fields = {**self._fields, "phase": phase, "watched": watched, "clock": time.monotonic()}
        # One that stands still while others go on ends no run.
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, json.dumps(fields).encode().ljust(_SIZE), 0)


def read_heartbeats(directory: str) -> list[Mapping[str, Any]]:
    """What the ranks of a run wrote last; one that is being written is left out."""
    found = []
    for name in sorted(os.listdir(directory)):
        if name.startswith("heartbeat-"):
            try:
                with open(os.path.join(directory, name), encoding="utf-8") as file:
                    data = json.loads(file.read())
            except (OSError, ValueError):
                continue
            found.append(data)
    return found


def remove_heartbeats(directory: str) -> None:
    """Forget those of the processes before."""
    for name in os.listdir(directory):
        if name.startswith("heartbeat-"):
            os.unlink(os.path.join(directory, name))
