"""How long a pipeline's stage computes in a step, and how long the step's passes take from first to last.

What is left over is the stage's share of the bubble: it waits for its neighbours. On CUDA the passes are
timed by events, which are read once the device has passed them, so that nothing waits for it.
"""

from __future__ import annotations

from collections import deque
from time import perf_counter
from typing import Any

MOST_FLYING = 16
"""Steps whose events have not been passed; beyond, the oldest is given up."""


class HostTimes:
    """Where passes are over when their calls return."""

    def __init__(self) -> None:
        self._busy = self._span = self._step_busy = 0.0
        self._first: float | None = None
        self._last = 0.0

    def begin(self) -> Any:
        """A forward or backward pass of a micro batch begins."""
        begun = perf_counter()
        if self._first is None:
            self._first = begun
        return begun

    def end(self, begun: Any) -> None:
        """It is over."""
        self._last = perf_counter()
        self._step_busy += self._last - begun

    def close(self) -> None:
        """The step is over."""
        if self._first is not None:
            self._busy += self._step_busy
            self._span += self._last - self._first
        self._first, self._step_busy = None, 0.0

    def take(self) -> tuple[float, float] | None:
        """``(busy, span)`` in seconds of the steps since the last call; None where there were none."""
        found = (self._busy, self._span) if self._span else None
        self._busy = self._span = 0.0
        return found


class CudaTimes:
    """The same by events; a step is told once the device has passed its last one."""

    def __init__(self, cuda: Any) -> None:
        self._cuda = cuda
        self._passes: list[tuple[Any, Any]] = []
        self._flying: deque[list[tuple[Any, Any]]] = deque(maxlen=MOST_FLYING)

    def begin(self) -> Any:
        """A forward or backward pass of a micro batch begins."""
        return self._recorded()

    def end(self, begun: Any) -> None:
        """It is over, as far as the host is concerned."""
        self._passes.append((begun, self._recorded()))

    def close(self) -> None:
        """The step is over, likewise."""
        if self._passes:
            self._flying.append(self._passes)
            self._passes = []

    def take(self) -> tuple[float, float] | None:
        """``(busy, span)`` in seconds of the steps that were passed since the last call."""
        busy = span = 0.0
        while self._flying and self._flying[0][-1][1].query():
            passes = self._flying.popleft()
            busy += sum(begun.elapsed_time(ended) for begun, ended in passes) / 1e3
            span += passes[0][0].elapsed_time(passes[-1][1]) / 1e3
        return (busy, span) if span else None

    def _recorded(self) -> Any:
        event = self._cuda.Event(enable_timing=True)
        event.record()
        return event


def times_for(torch: Any, device: Any) -> HostTimes | CudaTimes | None:
    """Return what times the passes on a device; None for an accelerator that is neither CPU nor CUDA."""
    kind = str(device).partition(":")[0]
    return HostTimes() if kind == "cpu" else CudaTimes(torch.cuda) if kind == "cuda" else None
