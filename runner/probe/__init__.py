"""The in-process probe: hooks a DeepSpeed worker and writes its journal. Standard library, and torch where it
is.

It is loaded under this name with or without flyball installed: by the ``sitecustomize`` of an installed
folder, by a fork server's child (``activate``), or by a script (``attach``). Nothing here imports the rest of
flyball.
"""

from __future__ import annotations

import os
import sys
from typing import Any

__all__ = ["activate", "attach", "finish"]


def activate(settings_path: str, *, forked: bool = False) -> None:
    """Watch this process by the settings in a file; silent in launchers; never raises, never prints.

    A second call, in a forked child for one (``forked``), replaces the settings of the first.
    """
    try:
        from flyball.runner.probe.process import claim_worker, command_line, is_launcher

        forked = forked or "deepspeed" in sys.modules
        if not forked and is_launcher(command_line()):
            return
        from flyball.runner.probe.activation import start
        from flyball.runner.probe.settings import read_settings

        start(read_settings(settings_path), speaks=claim_worker(force=forked))
    except (
        Exception
    ):  # an interpreter that has nothing to do with training must start as if we were not there
        _complain()


def attach(engine: Any) -> None:
    """Watch one engine of a script that asks for it; where the probe is already active this changes nothing.

    Settings come from the file named by FLYBALL_PROBE_SETTINGS, else records go to ``runs/`` in the state
    folder. Never raises.
    """
    try:
        from flyball.runner.probe.activation import start
        from flyball.runner.probe.deepspeed_hooks import meter_of, watch_engine_classes
        from flyball.runner.probe.settings import default_settings
        from flyball.runner.probe.watch import SLOT

        probe = SLOT.probe or start(default_settings(), speaks=True)
        watch_engine_classes()
        probe.safely(meter_of, engine, probe)
    except Exception:  # a run must not fail for being watched
        _complain()


def finish(reason: str = "exit") -> None:
    """Write what is held back and the ``end`` record; for a process that leaves by ``os._exit``."""
    try:
        from flyball.runner.probe.activation import leave

        leave(reason)
    except Exception:  # as above
        _complain()


def _complain() -> None:
    if os.environ.get("FLYBALL_PROBE_DEBUG"):
        sys.excepthook(*sys.exc_info())
