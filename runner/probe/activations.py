"""What a forward pass leaves allocated for its backward pass: the activations, seen in a few early steps."""

from __future__ import annotations

from typing import Any

from flyball.runner.probe.watch import Probe

FIRST_STEP = 1
"""In the first step workspaces are made, which stay."""
LAST_STEP = 4


class KeptActivations:
    """Reads the allocator before a training forward pass and before its backward pass, in steps 2 to 4."""

    def __init__(self, probe: Probe, meter: Any) -> None:
        self._probe, self._meter = probe, meter
        self._before: int | None = None
        self._most = self._passes = 0
        self._told = False

    def forward(self) -> None:
        """A training forward pass begins; of several before one backward pass the first one counts."""
        meter = self._meter
        if self._before is None and meter.reads_memory and FIRST_STEP <= meter.step < LAST_STEP:
            self._before = self._meter.readings.allocated()

    def backward(self) -> None:
        """Its backward pass begins."""
        before, self._before = self._before, None
        if before is not None:
            self._passes += 1
            self._most = max(self._most, self._meter.readings.allocated() - before)

    def boundary(self, _: Any) -> None:
        """Write the record once, after the last step that is looked at."""
        self._before = None
        if not self._told and self._meter.step >= LAST_STEP:
            self._told = True
            if self._passes:
                engine = self._meter.engine_number
                self._probe.journal.record(
                    "activations", engine=engine, bytes=self._most, passes=self._passes
                )
