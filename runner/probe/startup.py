"""Where the time from a worker's start to its first step goes, each second counted once.

One part runs at a time: a bottom one (``interpreter``, ``imports``, ``script``, ``engine``, ``data``,
``first_step``, in this order) and, on top, what is timed inside it (``imports``, ``process_group``, ``cuda``,
``op_builds``). ``compile`` is torch's own count and is taken out of ``first_step``.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from flyball.runner.probe.imports import Around
from flyball.runner.probe.process import process_started

_COMPILE = "entire_frame_compile"
"""dynamo's own name for all that it and its backends do for one graph."""


class Startup:
    """A stack of named parts; the time goes to the one on top. Only the main thread's calls count."""

    def __init__(self) -> None:
        self.last = monotonic()
        self.parts = {"interpreter": max(0.0, self.last - process_started())}
        self._stack = ["imports"]
        self._thread = threading.get_ident()
        self.done = False

    def turn(self, part: str) -> None:
        """Another bottom part begins, alone: training may run inside an import."""
        if self._counts():
            self._charge()
            self._stack = [part]

    def enter(self, part: str) -> bool:
        """Begin something inside; whether :meth:`leave` must be called for it."""
        if not self._counts():
            return False
        self._charge()
        self._stack.append(part)
        return True

    def leave(self) -> None:
        """End what was begun last."""
        if self._counts() and len(self._stack) > 1:
            self._charge()
            self._stack.pop()

    @property
    def part(self) -> str:
        """What runs now; empty on another thread, and once the first step is made."""
        return self._stack[-1] if self._counts() else ""

    def end(self) -> dict[str, float]:
        """The first step is made: seconds by part, those that took none left out."""
        self._charge()
        self.done = True
        compiling = min(compile_seconds(), self.parts.get("first_step", 0.0))
        if compiling > 0:
            self.parts["first_step"] -= compiling
            self.parts["compile"] = compiling
        return {part: round(seconds, 6) for part, seconds in self.parts.items() if seconds >= 0.0005}

    def _counts(self) -> bool:
        return not self.done and threading.get_ident() == self._thread

    def _charge(self) -> None:
        now, part = monotonic(), self._stack[-1]
        self.parts[part] = self.parts.get(part, 0.0) + now - self.last
        self.last = now


def compile_seconds() -> float:
    """What dynamo has spent in this process; 0 where it is not loaded."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    spent = getattr(dynamo, "cumulative_time_spent_ns", None) or {}
    return float(spent.get(_COMPILE, 0.0)) / 1e9


def timed_import(startup: Startup | None) -> Around | None:
    """What to put around a module's execution; None where its time has a place already."""
    if startup is None or startup.part in ("", "imports"):
        return None

    def around(execute: Callable[[Any], None]) -> Callable[[Any], None]:
        def executed(module: Any) -> None:
            entered = startup.enter("imports")
            try:
                execute(module)
            finally:
                if entered:
                    startup.leave()

        return executed

    return around


def timed(
    owner: Any, name: str, part: str, current: Callable[[], Startup | None], *, once: bool = False
) -> None:
    """Count what a function takes as ``part``; ``once`` puts the original back at its first call."""
    original = getattr(owner, name, None)
    if original is None or getattr(original, "_flyball_timed", False):
        return

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if once and getattr(owner, name, None) is call:
            setattr(owner, name, original)
        startup = current()
        if startup is None or not startup.enter(part):
            return original(*args, **kwargs)
        try:
            return original(*args, **kwargs)
        finally:
            startup.leave()

    call._flyball_timed = True  # type: ignore[attr-defined]
    setattr(owner, name, call)
