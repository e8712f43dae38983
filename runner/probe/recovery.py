"""Has an engine checkpoint every N steps, and puts it into the newest one when it was started again.

Every rank does the same at the same step: the engine's own count of steps decides, which all ranks share.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from flyball.runner.probe.careful_writer import careful_writing
from flyball.runner.probe.heartbeat import Heartbeat
from flyball.runner.probe.manifest import (
    keep_newest,
    read_manifest,
    remove_checkpoint,
    saved_steps,
    synced_file,
    tag_of,
    write_manifest,
)
from flyball.runner.probe.meter import ATTRIBUTE
from flyball.runner.probe.random_state import random_state, set_random_state
from flyball.runner.probe.watch import SLOT, Probe

_SYNCHRONOUS = "TorchCheckpointEngine"
"""DeepSpeed's writer that has written a file when its call returns."""


class Recovery:
    """Of one process: its first engine that trains, the checkpoints asked of it, and what it goes on from."""

    def __init__(self, probe: Probe, engine: Any) -> None:
        settings = probe.settings
        self.probe, self.engine = probe, engine
        self.root = os.path.abspath(settings.recovery_directory or settings.directory)
        self.every, self.keep = settings.checkpoint_every, settings.keep_checkpoints
        self.distributed = sys.modules["torch"].distributed
        self.rank, self.world_size = self.distributed.get_rank(), self.distributed.get_world_size()
        self.heartbeat = Heartbeat(settings.directory, self.rank)
        meter = engine.__dict__.get(ATTRIBUTE)
        if meter is not None:
            meter.heartbeat = self.heartbeat
        self.step = int(engine.global_steps)
        """The engine's, when it was last looked at."""
        self.stepped = False
        self.left_alone = not self.every
        """Whether nothing is asked of the engine any more."""
        self.saving = False
        self.said_fault = False
        self.random: dict[str, Any] | None = None
        """What the generators are put to before the next training forward."""
        reason = self._unfit()
        if reason and self.every:
            self.leave_alone(f"no checkpoints are made: {reason}")

    def say(self, text: str) -> None:
        """Print one line, on rank 0."""
        if self.rank == 0:
            with contextlib.suppress(OSError, ValueError):  # nobody reads
                sys.stderr.write(f"flyball: {text}\n")
                sys.stderr.flush()

    def leave_alone(self, reason: str) -> None:
        """Ask for no checkpoint any more."""
        if not self.left_alone:
            self.left_alone = True
            self.say(reason)

    def _unfit(self) -> str | None:
        writer = type(self.engine.checkpoint_engine).__name__
        if writer != _SYNCHRONOUS:
            return f"the config has DeepSpeed write them behind the step ({writer}); have the script save"
        if self.engine.zero_nvme_offload_optimizer():
            return "the optimizer lies on NVMe, which is copied without a check; have the script save"
        return None

    def after_step(self) -> None:
        """After each call that may have stepped: save where it is time."""
        step = int(self.engine.global_steps)
        if step == self.step:
            return
        self.step, self.stepped = step, True
        self.heartbeat.step(step, watched=self.probe.watching)
        if not self.left_alone and step % self.every == 0:
            self.save(step)
            self.heartbeat.step(step, watched=self.probe.watching)

    def save(self, step: int) -> None:
        """Save a whole checkpoint, or say why not and go on; called by all ranks."""
        begun = time.monotonic()
        self.saving = True
        self.heartbeat.begin("saving")
        try:
            fault, size = self._save(step)
        finally:
            self.saving = False
            self.heartbeat.end("saving")
        seconds = time.monotonic() - begun
        self.probe.say(
            "checkpoint", step=step, path=self._folder(step), bytes=size, seconds=seconds, fault=fault
        )
        if fault is None:
            self.said_fault = False
        elif not self.said_fault:
            self.said_fault = True
            self.say(
                f"the checkpoint of step {step} was not saved: {fault}; {self._newest()}, training goes on"
            )

    def _save(self, step: int) -> tuple[str | None, int]:
        folder = self._folder(step)
        if self.rank == 0:
            remove_checkpoint(self.root, step)
        with careful_writing(self.engine) as writer:
            self.engine.save_checkpoint(self.root, tag=tag_of(step), save_latest=False)
            writer.save(random_state(), self._random_path(step))
            files = self._synced(writer, folder)
        parts: list[Any] = [None] * self.world_size
        self.distributed.all_gather_object(parts, {"files": files, "fault": writer.fault})
        fault = next((part["fault"] for part in parts if part["fault"]), None)
        listed = sorted((entry for part in parts for entry in part["files"]), key=lambda entry: entry["path"])
        if self.rank == 0:
            fault = self._finish(step, listed, fault)
        return fault, sum(entry["bytes"] for entry in listed)

    def _synced(self, writer: Any, folder: str) -> list[dict[str, Any]]:
        try:
            return [] if writer.fault else [synced_file(path, folder) for path in writer.paths]
        except OSError as error:
            writer.fault = f"{error.filename or folder}: {error.strerror}"
            return []

    def _finish(self, step: int, files: list[dict[str, Any]], fault: str | None) -> str | None:
        fields = {
            "run": self.probe.settings.run,
            "step": step,
            "world_size": self.world_size,
            "config_digest": config_digest(self.engine),
            "time": time.time(),
            "data_position": None,
            "files": files,
        }
        try:
            if fault is None:
                write_manifest(self._folder(step), fields)
                keep_newest(self.root, self.keep)
                return None
        except OSError as error:
            fault = f"{self._folder(step)}: {error.strerror}"
        remove_checkpoint(self.root, step)
        return fault

    def _newest(self) -> str:
        newest = next(iter(saved_steps(self.root)), None)
        return "there is none yet" if newest is None else f"the newest whole one is of step {newest}"

    def _folder(self, step: int) -> str:
        return os.path.join(self.root, tag_of(step))

    def _random_path(self, step: int) -> str:
        return os.path.join(self._folder(step), f"random-rank-{self.rank}.pt")

    def restore(self, step: int) -> None:
        """Put the engine into a checkpoint; called by all ranks.

        Raises:
            RuntimeError: it is of another number of ranks, or DeepSpeed did not take it.
        """
        begun, folder = time.monotonic(), self._folder(step)
        known = read_manifest(folder)
        if known["world_size"] != self.world_size:
            raise RuntimeError(
                f"flyball: the checkpoint of step {step} is of {known['world_size']} ranks and this run has "
                f"{self.world_size}; start as many again, or without {self.root}"
            )
        self.saving = True
        try:
            path, _ = self.engine.load_checkpoint(self.root, tag=tag_of(step))
        finally:
            self.saving = False
        if path is None:
            raise RuntimeError(f"flyball: DeepSpeed did not load the checkpoint in {folder}")
        torch = sys.modules["torch"]
        self.random = torch.load(self._random_path(step), map_location="cpu", weights_only=False)
        self.step = int(self.engine.global_steps)
        seconds = time.monotonic() - begun
        self.probe.say("restored", step=step, path=folder, seconds=seconds)
        if known["config_digest"] != config_digest(self.engine):
            self.say(f"the config is not the one that the checkpoint of step {step} was made with")

    def script_loaded(self) -> None:
        """The script has loaded a checkpoint of its own; the newer one of the two counts."""
        step = self.probe.settings.resume_step
        own = int(self.engine.global_steps)
        if step is None or self.stepped or own >= step:
            self.random = None
            self.step = own
            return
        self.say(
            f"the script loaded its checkpoint of step {own}: "
            f"this run's newer one of step {step} is loaded over it"
        )
        self.restore(step)

    def before_forward(self) -> None:
        """The first training forward of a run that was started again draws what it would have drawn."""
        if self.random is not None:
            state, self.random = self.random, None
            set_random_state(state)


def config_digest(engine: Any) -> str:
    """Of the engine's effective config."""
    config = getattr(getattr(engine, "_config", None), "_param_dict", None)
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def begin_recovery(probe: Probe, engine: Any) -> None:
    """Take charge of the first engine that trains. What restoring raises is the run's failure."""
    if not probe.settings.recovers or getattr(engine, "optimizer", None) is None:
        return
    if probe.recovery is not None:
        probe.recovery.leave_alone(
            "the script trains several engines: no checkpoints are made, have it save them"
        )
        return
    recovery = probe.recovery = Recovery(probe, engine)
    follow_compilation(recovery)
    if probe.settings.resume_step is not None:
        recovery.restore(probe.settings.resume_step)


def follow_compilation(recovery: Recovery) -> None:
    """Have the heartbeat tell when torch compiles: that is no hang."""
    try:
        from torch._dynamo.callback import callback_handler
    except ImportError:  # an older torch
        return
    callback_handler.register_start_callback(lambda *_: recovery.heartbeat.begin("compiling"))
    callback_handler.register_end_callback(lambda *_: recovery.heartbeat.end("compiling"))


def watch_recovery(engine_class: Any, step_method: str) -> None:
    """Wrap the method of an engine class in which it steps; it is looked at once the call is over."""
    setattr(engine_class, step_method, _stepping(getattr(engine_class, step_method)))


def recovery_of(engine: Any) -> Recovery | None:
    """What takes care of this engine, if anything."""
    probe = SLOT.probe
    recovery: Recovery | None = probe.recovery if probe is not None else None
    return recovery if recovery is not None and recovery.engine is engine else None


def watch_first_forward(engine_class: Any, method: str) -> None:
    """Wrap the method in which a training step first draws random numbers."""
    original = getattr(engine_class, method)

    @functools.wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        recovery = recovery_of(self)
        if recovery is not None and recovery.random is not None and self.module.training:
            recovery.before_forward()
        return original(self, *args, **kwargs)

    setattr(engine_class, method, forward)


def _stepping(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        recovery = recovery_of(self)
        if recovery is not None:
            recovery.after_step()
        return result

    return step
