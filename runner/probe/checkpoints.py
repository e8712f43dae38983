"""Checkpoints: their time is no step's; a trial neither writes to the user's folder nor resumes from it."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from typing import Any

from flyball.runner.probe.meter import ATTRIBUTE
from flyball.runner.probe.watch import SLOT, Probe

SAVING = ("save_checkpoint", "save_16bit_model", "save_fp16_model")


class FreshState(dict):  # type: ignore[type-arg]
    """The client state of a checkpoint that was not loaded: what a script asks for reads 0, so it starts
    anew.
    """

    def __missing__(self, key: object) -> int:
        """Step, epoch, samples: all 0."""
        return 0

    def get(self, key: object, default: Any = 0) -> Any:
        """The default that the script names, else 0."""
        return super().get(key, default)


def watch_checkpoints(engine_class: Any) -> None:
    """Wrap the saving and loading methods of an engine class."""
    for name in SAVING:
        original = engine_class.__dict__.get(name)
        if original is not None:
            setattr(engine_class, name, _save(original))
    engine_class.load_checkpoint = _load(engine_class.load_checkpoint)


def _save(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def save(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is None:
            return original(self, *args, **kwargs)
        call = inspect.signature(original).bind(self, *args, **kwargs)
        if probe.recovery is not None and not probe.recovery.saving and original.__name__ == SAVING[0]:
            probe.recovery.leave_alone(
                "the script saves checkpoints itself: flyball asks for none from here on"
            )
        if probe.trial and probe.settings.checkpoint_directory:
            call.arguments["save_dir"] = redirected(probe, call.arguments["save_dir"])
        with Paused(probe, self, call.arguments.get("save_dir")):
            return original(*call.args, **call.kwargs)

    return save


def _load(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_checkpoint(self: Any, load_dir: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is None:
            return original(self, load_dir, *args, **kwargs)
        if probe.trial:
            own = own_checkpoint(probe, load_dir)
            if own is None:
                probe.say("redirect", what="load_checkpoint", path=str(load_dir), to=None)
                return None, FreshState()
            load_dir = own
        with Paused(probe, self):
            result = original(self, load_dir, *args, **kwargs)
        recovery = probe.recovery
        if recovery is not None and recovery.engine is self and not recovery.saving:
            recovery.script_loaded()
        return result

    return load_checkpoint


def redirected(probe: Probe, folder: Any) -> Any:
    """The trial's own folder for a folder that the script saves to; the same one each time, on every rank."""
    target = probe.settings.checkpoint_directory
    if not folder or target is None:
        return folder
    path = os.path.realpath(folder)
    if any(inside(path, root) for root in own_folders(probe)):
        return folder
    if path not in probe.redirects:
        name = os.path.basename(path) or "root"
        taken = set(probe.redirects.values())
        names: Iterator[str] = (name if not index else f"{name}-{index}" for index in range(len(taken) + 1))
        probe.redirects[path] = next(
            place for place in (os.path.join(target, name) for name in names) if place not in taken
        )
        probe.say("redirect", what="save_checkpoint", path=str(folder), to=probe.redirects[path])
    return probe.redirects[path]


def own_checkpoint(probe: Probe, folder: Any) -> Any:
    """Where this trial may load ``folder`` from: what it saved there itself, or its own folder; else None."""
    path = os.path.realpath(folder)
    if path in probe.redirects:
        return probe.redirects[path]
    return folder if any(inside(path, root) for root in own_folders(probe)) else None


def own_folders(probe: Probe) -> list[str]:
    """The folders that belong to the trial."""
    settings = probe.settings
    return [os.path.realpath(root) for root in (settings.directory, settings.checkpoint_directory) if root]


def inside(path: str, root: str) -> bool:
    """Whether a real path is a folder or lies in it."""
    return path == root or path.startswith(os.path.join(root, ""))


class Paused:
    """The length of a checkpoint as a pause in the journal."""

    def __init__(self, probe: Probe, engine: Any, folder: Any = None) -> None:
        self.probe = probe
        self.path = None if folder is None else os.path.abspath(str(folder))
        self.meter = engine.__dict__.get(ATTRIBUTE) if probe.watching else None

    def __enter__(self) -> None:
        # A checkpoint inside another one is part of it, and only the outer one ends the pause.
        if self.meter is not None and not self.probe.safely(self.meter.pause, "checkpointing", self.path):
            self.meter = None

    def __exit__(self, *_: object) -> None:
        if self.meter is not None:
            self.probe.safely(self.meter.resume, "checkpointing")
