"""Trial only: transformers' Trainer and accelerate start anew, unless from what this trial itself saved."""

from __future__ import annotations

import functools
import glob
import os
from collections.abc import Callable
from typing import Any

from flyball.runner.probe.checkpoints import inside, own_folders
from flyball.runner.probe.watch import SLOT, Probe

WATCHED = "_flyball_starts_anew"


def start_trainer_anew(module: Any) -> None:
    """Wrap ``Trainer.train`` of ``transformers.trainer``; a second call changes nothing."""
    if not module.Trainer.__dict__.get(WATCHED):
        setattr(module.Trainer, WATCHED, True)
        module.Trainer.train = _train(module.Trainer.train)


def start_accelerator_anew(module: Any) -> None:
    """Wrap ``Accelerator.load_state`` of ``accelerate.accelerator``; a second call changes nothing."""
    if not module.Accelerator.__dict__.get(WATCHED):
        setattr(module.Accelerator, WATCHED, True)
        module.Accelerator.load_state = _load_state(module.Accelerator.load_state)


def is_own(probe: Probe, folder: Any) -> bool:
    """Whether a folder lies in the trial's own."""
    path = os.path.realpath(folder)
    return any(inside(path, root) for root in own_folders(probe))


def _train(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def train(self: Any, resume_from_checkpoint: Any = None, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is not None and probe.trial and resume_from_checkpoint:
            kept = probe.safely(_resumes, probe, self, resume_from_checkpoint)
            resume_from_checkpoint = resume_from_checkpoint if kept else None
        return original(self, resume_from_checkpoint, *args, **kwargs)

    return train


def _resumes(probe: Probe, trainer: Any, asked: Any) -> bool:
    """Whether the trainer finds there what this trial saved; else it is told that it starts anew."""
    folder = trainer.args.output_dir if asked is True else asked
    saved = asked is not True or glob.glob(os.path.join(glob.escape(folder), "checkpoint-*"))
    if saved and is_own(probe, folder):
        return True
    probe.say("redirect", what="resume_from_checkpoint", path=str(folder), to=None)
    return False


def _load_state(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def load_state(self: Any, input_dir: Any = None, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is not None and probe.trial:
            folder = input_dir if input_dir is not None else getattr(self, "project_dir", None)
            if folder is None or not is_own(probe, folder):
                probe.say("redirect", what="load_state", path=str(folder), to=None)
                return None
        return original(self, input_dir, *args, **kwargs)

    return load_state
