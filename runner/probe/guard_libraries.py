"""Trial only: writers in C++ or Rust, which audit events do not see, and TensorBoard's log folder."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import Any

from flyball.runner.probe.guard import CURRENT, check_write
from flyball.runner.probe.imports import FINDER
from flyball.runner.probe.watch import SLOT

LOG_FOLDERS = ("log_dir", "logdir")


def guard_libraries() -> None:
    """Wrap the native writers as they are imported."""
    FINDER.when_imported("torch", _guard_torch)
    FINDER.when_imported("safetensors", _guard_safetensors)
    for name in ("torch.utils.tensorboard.writer", "tensorboardX.writer"):
        FINDER.when_imported(name, _redirect_logs)


def _guard_torch(torch: Any) -> None:
    torch.save = _checked(torch.save, 1, "f", "torch.save")
    torch.jit.save = _checked(torch.jit.save, 1, "f", "torch.jit.save")


def _guard_safetensors(safetensors: Any) -> None:
    # safetensors.torch and .numpy take this name from here when they are imported, before a fork for one.
    checked = _checked(safetensors.serialize_file, 1, "filename", "safetensors")
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "safetensors" and hasattr(module, "serialize_file"):
            vars(module)["serialize_file"] = checked


def _checked(original: Callable[..., Any], place: int, name: str, operation: str) -> Callable[..., Any]:
    if getattr(original, "_flyball", False):
        return original

    @functools.wraps(original)
    def checked(*args: Any, **kwargs: Any) -> Any:
        check_write(kwargs.get(name, args[place] if len(args) > place else None), operation)
        return original(*args, **kwargs)

    checked._flyball = True  # type: ignore[attr-defined]
    return checked


def _redirect_logs(module: Any) -> None:
    writer = module.SummaryWriter
    if writer.__dict__.get("_flyball"):
        return
    writer._flyball = True
    original = writer.__init__

    @functools.wraps(original)
    def initialize(self: Any, *args: Any, **kwargs: Any) -> None:
        probe = SLOT.probe
        if probe is None or not probe.trial or CURRENT.guard is None:
            original(self, *args, **kwargs)
            return
        name = next((name for name in LOG_FOLDERS if name in original.__code__.co_varnames), LOG_FOLDERS[0])
        given = kwargs.pop(name, args[0] if args else None)
        kwargs[name] = os.path.join(probe.settings.directory, "tensorboard")
        probe.say("redirect", what="SummaryWriter", path=str(given), to=kwargs[name])
        original(self, *args[1:], **kwargs)

    writer.__init__ = initialize
