"""Stands in for an engine's checkpoint engine while flyball saves: a full disk ends nothing.

DeepSpeed's ranks meet in barriers between their files. A fault that raised on one of them would leave the
others waiting there for ever; so it is kept, all come to the end, and agree there that nothing was saved.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flyball.runner.probe.failures import causes

_ARCHIVES = "inline_container"
"""The source file in the errors of torch's writer of archives."""
_WRITE_FAULTS = (OSError, RuntimeError)
"""torch's own writer of archives raises RuntimeError for a disk that is full."""


class CarefulWriter:
    """The checkpoint engine with what it wrote, and the first fault."""

    def __init__(self, writer: Any) -> None:
        self.writer = writer
        self.paths: list[str] = []
        self.fault: str | None = None

    def __getattr__(self, name: str) -> Any:
        """Whatever else a checkpoint engine can do."""
        return getattr(self.writer, name)

    def save(self, state_dict: Any, path: str) -> None:
        """Write one file, unless one before it failed."""
        self._guarded(path, lambda: self.writer.save(state_dict, path))
        self.paths.append(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a folder, likewise."""
        self._guarded(path, lambda: os.makedirs(path, exist_ok=exist_ok))

    def _guarded(self, path: str, action: Callable[[], Any]) -> None:
        if self.fault is not None:
            return
        try:
            action()
        except _WRITE_FAULTS as error:
            self.fault = f"{path}: {_reason(error, path)}"


def _reason(error: BaseException, path: str) -> str:
    """What the system said. torch's writer of archives may keep it to itself: then how much room there is."""
    for found in causes(error):
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
    text = (str(error).splitlines() or [type(error).__name__])[0]
    if _ARCHIVES not in text:
        return text
    return f"torch could not write it whole; {_free(path)} there"


def _free(path: str) -> str:
    try:
        return f"{shutil.disk_usage(os.path.dirname(path)).free / 1e6:,.0f} MB are free"
    except OSError as error:
        return f"its folder cannot be looked at ({error.strerror})"


@contextmanager
def careful_writing(engine: Any) -> Iterator[CarefulWriter]:
    """Have an engine write through a :class:`CarefulWriter`; its scripts for conversion are left out."""
    writer = engine.checkpoint_engine
    careful = CarefulWriter(writer)
    engine.checkpoint_engine = careful
    engine.__dict__["_copy_recovery_script"] = lambda path: None
    try:
        yield careful
    finally:
        del engine.__dict__["_copy_recovery_script"]
        engine.checkpoint_engine = writer
