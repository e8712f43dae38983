"""Turns the probe on in this process."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from flyball.runner.probe.collectives import COUNTS
from flyball.runner.probe.failures import report, watch_exceptions
from flyball.runner.probe.imports import FINDER, Hook, install_finder
from flyball.runner.probe.latency import LATENCIES
from flyball.runner.probe.network import ask_nccl
from flyball.runner.probe.settings import Settings
from flyball.runner.probe.startup import Startup, timed, timed_import
from flyball.runner.probe.trackers import quiet_trackers
from flyball.runner.probe.watch import SLOT, Probe


def start(settings: Settings, *, speaks: bool) -> Probe:
    """Make ``settings`` the ones in force: hooks go in once, a forked child's own settings replace the
    parent's.
    """
    first = SLOT.probe is None
    probe = Probe(settings, speaks=speaks)
    SLOT.probe = probe
    COUNTS.clear()
    LATENCIES.clear()
    if first:
        atexit.register(leave)
    install_finder()
    FINDER.around = lambda: timed_import(_startup())
    watch_exceptions()
    if probe.trial and settings.guard_writes:
        _guard(probe)
    if probe.trial:
        quiet_trackers()
        ask_nccl(settings.directory, os.environ)
    FINDER.when_imported("torch", _guarded(_time_startup))
    FINDER.when_imported("torch", _guarded(_keep_ring_small))
    FINDER.when_imported("deepspeed", _guarded(_watch))
    FINDER.when_imported("transformers.trainer", _guarded(_watch_trainer))
    FINDER.when_imported("accelerate.accelerator", _guarded(_watch_accelerate))
    return probe


def _guard(probe: Probe) -> None:
    from flyball.runner.probe.guard import guard_writes
    from flyball.runner.probe.guard_libraries import guard_libraries

    guard_writes(probe)
    guard_libraries()


def _guarded(hook: Hook) -> Hook:
    """A hook whose fault does not become the fault of an import."""

    def imported(module: Any) -> None:
        probe = SLOT.probe
        if probe is not None:
            probe.safely(hook, module)

    return imported


def _startup() -> Startup | None:
    probe = SLOT.probe
    return probe.startup if probe is not None and probe.watching else None


def _time_startup(module: Any) -> None:
    if module.distributed.is_available():
        timed(module.distributed, "init_process_group", "process_group", _startup)
    for name in ("_cuda_init", "_cuda_setDevice"):
        # CUDA makes the device's context in the first call of either.
        timed(module._C, name, "cuda", _startup, once=True)


def _keep_ring_small(module: Any) -> None:
    from flyball.runner.probe.flight_recorder import keep_ring_small

    keep_ring_small(os.environ, module.__version__)


def _watch(module: Any) -> None:
    from flyball.runner.probe.deepspeed_hooks import watch_deepspeed

    watch_deepspeed(module)
    builder = sys.modules.get("deepspeed.ops.op_builder.builder")
    timed(getattr(builder, "OpBuilder", None), "jit_load", "op_builds", _startup)
    if SLOT.probe is not None:
        SLOT.probe.startup.turn("script")


def _watch_trainer(module: Any) -> None:
    from flyball.runner.probe.resuming import start_trainer_anew
    from flyball.runner.probe.trainer_hooks import watch_trainer

    watch_trainer(module)
    start_trainer_anew(module)


def _watch_accelerate(module: Any) -> None:
    from flyball.runner.probe.resuming import start_accelerator_anew

    start_accelerator_anew(module)


def leave(reason: str | None = None) -> None:
    """Write the last records; for ``atexit``, and for whoever leaves by ``os._exit``.

    A script may have replaced ``sys.excepthook``: the interpreter still remembers the exception it died of.
    """
    probe = SLOT.probe
    if probe is None or (probe.journal.is_open is False and not probe.speaks):
        return
    died_of = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    probe.safely(report, probe, died_of)
    probe.finish(reason or ("exception" if probe.exception is not None else "exit"))
