"""transformers' Trainer: what it saves by itself, around DeepSpeed's own methods, is no step's time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flyball.runner.probe.checkpoints import Paused
from flyball.runner.probe.watch import SLOT

SAVING = ("_save_checkpoint", "save_model")
WATCHED = "_flyball_watched"


def watch_trainer(module: Any) -> None:
    """Wrap the Trainer class of ``transformers.trainer``; a second call changes nothing."""
    trainer = module.Trainer
    if trainer.__dict__.get(WATCHED):
        return
    setattr(trainer, WATCHED, True)
    for name in SAVING:
        original = trainer.__dict__.get(name)
        if original is not None:
            setattr(trainer, name, _save(original))


def _save(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def save(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        engine = getattr(self, "deepspeed", None)
        if probe is None or engine is None:
            return original(self, *args, **kwargs)
        with Paused(probe, engine):
            return original(self, *args, **kwargs)

    return save
