"""The one probe of a process: its settings, its journal, its engines, and its own off switch."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from flyball.runner.probe.journal import Journal, append_once
from flyball.runner.probe.process import current_folder, rank
from flyball.runner.probe.settings import Settings
from flyball.runner.probe.startup import Startup


class Probe:
    """Everything that one activation owns; a forked child gets a fresh one."""

    def __init__(self, settings: Settings, *, speaks: bool) -> None:
        self.settings = settings
        self.journal = Journal(settings.directory)
        self.speaks = speaks
        """Whether last words may open the journal before there is an engine."""
        self.watching = True
        """False once the probe has switched itself off."""
        self.engines = 0
        self.initialized = 0
        """Calls of ``initialize`` that made an engine."""
        self.meters: list[Any] = []
        self.config_source = "argument"
        self.module_paths = [path for path in sys.path if path not in own_site_folders()]
        self.working_directory = current_folder()
        self.in_initialize = False
        self.exception: Any = None
        self.ended = False
        self.redirects: dict[str, str] = {}
        self.flight_recorder: Any = None
        self.startup = Startup()
        self.recovery: Any = None

    @property
    def trial(self) -> bool:
        """Whether outputs are redirected and foreign writes refused."""
        return self.settings.trial

    def say(self, kind: str, **fields: Any) -> None:
        """Write a record, opening the journal for a moment where this process has none of its own."""
        if self.journal.is_open:
            self.journal.record(kind, **fields)
        elif self.speaks or kind in ("foreign_write", "redirect"):
            append_once(self.settings.directory, rank(), kind, **fields)

    def off(self, reason: str) -> None:
        """Stop watching, once, with a record; the workload goes on as if the probe were not there."""
        if self.watching:
            self.watching = False
            self.say("probe_off", reason=reason)

    def failed(self) -> None:
        """Switch off after a fault of the probe's own; call it inside an ``except``."""
        kind, error, trace = sys.exc_info()
        frame = traceback.extract_tb(trace)[-1] if trace else None
        where = f" at {os.path.basename(frame.filename)}:{frame.lineno}" if frame else ""
        name = kind.__name__ if kind else "fault"
        self.off(f"{name}: {error}{where}")

    def safely(self, action: Callable[..., Any], *arguments: Any) -> Any:
        """Run a piece of the probe; a fault in it switches the probe off and never leaves it."""
        try:
            return action(*arguments)
        except Exception:  # the workload must not see a fault of ours, whatever it is
            self.failed()
            return None

    def finish(self, reason: str) -> None:
        """Write what is still held back and the ``end`` record, once."""
        if self.ended or not self.journal.is_open:
            return
        self.ended = True
        if self.flight_recorder is not None:
            self.safely(self.flight_recorder.stop)
        for meter in self.meters:
            self.safely(meter.flush)
            self.safely(meter.communicate)
        steps = max((meter.step for meter in self.meters), default=0)
        self.journal.record("end", steps=steps, reason=reason)


def own_site_folders() -> list[str]:
    """The folder whose sitecustomize loaded this package; no part of the user's own path."""
    return [os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "site")]


class Slot:
    """Holds the current probe: wrappers stay in place when a forked child takes new settings."""

    __slots__ = ("probe",)

    def __init__(self) -> None:
        self.probe: Probe | None = None


SLOT = Slot()
