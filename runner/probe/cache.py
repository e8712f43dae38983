"""Empties the CUDA caching allocator now and then, and tells what that gave back."""

from __future__ import annotations

import sys
from typing import Any

from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import Probe


def empty_cache(probe: Probe, meter: Meter, every: int) -> None:
    """Give cached blocks back to the driver after every so many steps of the optimizer.

    It is the workload's time and not the probe's: the step takes as much longer.
    """
    cuda = sys.modules["torch"].cuda
    steps = 0
    emptied: list[int] = []

    def work(_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps % every == 0:
            before = cuda.memory_reserved()
            cuda.empty_cache()
            emptied.append(before - cuda.memory_reserved())

    def witness(_: Any) -> None:
        if emptied:
            probe.say(
                "witness",
                knob="empty_cache_every",
                value={"emptied": steps // every, "freed_bytes": sum(emptied)},
            )
            emptied.clear()

    meter.at_step.append(work)
    meter.at_boundary.append(witness)
