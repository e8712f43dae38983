"""Loss, memory and device time of a rank, read without ever waiting for the device."""

from __future__ import annotations

import os
import resource
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

LOSS_INTERVAL_SECONDS = 0.02
LOSS_SLOTS = 64
BUFFERS = 4
MARK_INTERVAL_SECONDS = 0.02
EVENTS = 64
SNAPSHOT_INTERVAL_SECONDS = 10.0
SNAPSHOT_COST_RATIO = 5000
"""A snapshot of the allocator waits for at least so many times its own cost."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class HostReadings:
    """On CPU a loss is just a number, and memory is the process's own."""

    def __init__(self) -> None:
        self._losses: list[float] = []
        self._grad_norm: float | None = None
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)

    def loss(self, tensor: Any) -> None:
        """Take the loss of one micro batch."""
        self._losses.append(tensor.item())

    def grad_norm(self, value: Any) -> None:
        """Take the norm that DeepSpeed has for this step: a number, a tensor, or nothing."""
        if isinstance(value, (int, float)):
            self._grad_norm = float(value)
        elif getattr(value, "is_cpu", False) and value.numel() == 1:
            self._grad_norm = value.item()

    def known_grad_norm(self) -> float | None:
        """The newest norm since the last call, or None."""
        known, self._grad_norm = self._grad_norm, None
        return known

    def boundary(self, step: int, *, mean: bool) -> tuple[int, float] | None:
        """Close a step; return ``(step, loss)`` of the newest step whose loss is known, or None."""
        if not self._losses:
            return None
        total = sum(self._losses)
        known = (step, total / len(self._losses) if mean else total)
        self._losses.clear()
        return known

    def memory(self) -> str:
        """The memory mapping as JSON: resident set and its peak, in bytes."""
        resident = int(os.pread(self._statm, 128, 0).split()[1]) * PAGE_BYTES
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return f'{{"rss":{resident},"peak_rss":{max(peak, resident)}}}'

    def allocated(self) -> int | None:
        """No allocator that would tell of tensors."""
        return None

    def device_seconds(self) -> tuple[int, float] | None:
        """No device, no device time."""
        return None


class SilentReadings(HostReadings):
    """For an accelerator that is neither CPU nor CUDA: a loss there cannot be read without waiting."""

    def loss(self, tensor: Any) -> None:
        """Leave the loss unknown."""


class CudaReadings:
    """Copies losses to pinned memory and records events at boundaries; both are read when they are ready."""

    def __init__(self, torch: Any, device_index: int) -> None:
        self._torch = torch
        self._device = device_index
        self._statistics = torch._C._cuda_memoryStats
        self._free = [
            (torch.empty(LOSS_SLOTS + 1, dtype=torch.float32, pin_memory=True), torch.cuda.Event())
            for _ in range(BUFFERS)
        ]
        self._filling: tuple[Any, Any] | None = None
        self._filled = 0
        self._skipping = False
        self._copied_at = 0.0
        self._has_norm = False
        self._grad_norm: float | None = None
        self._flying: deque[tuple[int, Any, Any, int, bool, bool]] = deque()
        self._events: deque[tuple[int, Any]] = deque()
        self._spare: list[Any] = []
        self._marked_at = 0.0
        self._opened = False
        # Not in the first steps, which are short of everything else too.
        self._snapshot_due = time.monotonic() + SNAPSHOT_INTERVAL_SECONDS
        # Under expandable segments torch does not maintain inactive_split_bytes.
        self._expandable = self._asked = expandable_segments(os.environ)
        self._proven = not self._asked

    def loss(self, tensor: Any) -> None:
        """Start the copy of one micro batch's loss, in stream order, ahead of its backward."""
        if self._filling is None:
            now = time.monotonic()
            self._skipping = self._skipping or not self._free or now - self._copied_at < LOSS_INTERVAL_SECONDS
            if self._skipping:
                return
            self._copied_at = now
            self._filling = self._free.pop()
        if self._filled < LOSS_SLOTS:
            buffer, event = self._filling
            buffer[self._filled].copy_(tensor.detach().reshape(()), non_blocking=True)
            event.record()
        self._filled += 1

    def grad_norm(self, value: Any) -> None:
        """Take the norm of this step; one on the device travels in the last place of the losses' buffer."""
        if isinstance(value, (int, float)):
            self._grad_norm = float(value)
        elif self._filling is not None and getattr(value, "is_cuda", False) and value.numel() == 1:
            buffer, event = self._filling
            buffer[LOSS_SLOTS].copy_(value.detach().reshape(()), non_blocking=True)
            event.record()
            self._has_norm = True

    def known_grad_norm(self) -> float | None:
        """The newest norm that has arrived since the last call: of the same step as the loss; or None."""
        known, self._grad_norm = self._grad_norm, None
        return known

    def boundary(self, step: int, *, mean: bool) -> tuple[int, float] | None:
        """Close a step; return ``(step, loss)`` of the newest step whose loss has arrived, or None."""
        self._mark(step)
        if self._filling is not None:
            self._flying.append((step, *self._filling, self._filled, mean, self._has_norm))
        self._filling, self._filled, self._skipping, self._has_norm = None, 0, False, False
        known = None
        while self._flying and self._flying[0][2].query():
            at, buffer, event, count, averaged, has_norm = self._flying.popleft()
            if has_norm:
                self._grad_norm = buffer[LOSS_SLOTS].item()
            values = buffer[: min(count, LOSS_SLOTS)].tolist()
            average = sum(values) / len(values)
            known = (at, average if averaged else average * count)
            self._free.append((buffer, event))
        return known

    def _mark(self, step: int) -> None:
        # Two boundaries in a row make one reading; of very short steps not every one is worth two events.
        now = time.monotonic()
        opens = now - self._marked_at >= MARK_INTERVAL_SECONDS
        if not opens and not self._opened:
            return
        self._opened = opens
        if opens:
            self._marked_at = now
        if len(self._events) < EVENTS:
            event = self._spare.pop() if self._spare else self._torch.cuda.Event(enable_timing=True)
            event.record()
            self._events.append((step, event))

    def device_seconds(self) -> tuple[int, float] | None:
        """``(step, seconds)`` of the newest step whose two boundary events have both been passed."""
        known = None
        while len(self._events) > 1 and self._events[1][1].query():
            before, begun = self._events.popleft()
            step, ended = self._events[0]
            if step == before + 1:
                known = (step, begun.elapsed_time(ended) / 1e3)
            self._spare.append(begun)
        return known

    def allocated(self) -> int | None:
        """Bytes of live tensors now, by the raw call, which does not synchronize."""
        return int(self._statistics(self._device)["allocated_bytes"]["all"]["current"])

    def memory(self) -> str:
        """The caching allocator's counters as JSON, in bytes; the raw call, which does not synchronize."""
        found = self._statistics(self._device)
        allocated, reserved = found["allocated_bytes"]["all"], found["reserved_bytes"]["all"]
        active = found["active_bytes"]["all"]
        if not self._proven and reserved["current"]:
            # Asked for and granted are two things: the script, the platform or a backend may differ.
            self._proven = True
            self._note_segments(self._segments())
        free = self._free_blocks()
        expandable = ',"expandable":true' if self._expandable else ""
        return (
            f'{{"allocated":{allocated["current"]},"reserved":{reserved["current"]},'
            f'"active":{active["current"]},"peak_active":{active["peak"]},'
            f'"inactive_split":{found["inactive_split_bytes"]["all"]["current"]},'
            f'"peak_allocated":{allocated["peak"]},"peak_reserved":{reserved["peak"]},'
            f'"retries":{found["num_alloc_retries"]},"ooms":{found["num_ooms"]}{free}'
            f"{expandable}}}"
        )

    def _free_blocks(self) -> str:
        """Largest and all free bytes inside the segments, once in a while: it walks over every block."""
        begun = time.monotonic()
        if begun < self._snapshot_due:
            return ""
        segments = self._segments()
        if segments is None:
            self._snapshot_due = float("inf")
            return ""
        self._note_segments(segments)
        free = [
            block["size"]
            for segment in segments
            for block in segment["blocks"]
            if block["state"] == "inactive"
        ]
        cost = time.monotonic() - begun
        self._snapshot_due = begun + max(SNAPSHOT_INTERVAL_SECONDS, cost * SNAPSHOT_COST_RATIO)
        return f',"free":{sum(free)},"largest_free":{max(free, default=0)}'

    def _segments(self) -> list[Any] | None:
        """The allocator's segments on this device; None of an allocator that has none to show."""
        try:
            found = self._torch.cuda.memory_snapshot()
        except RuntimeError:  # backend:cudaMallocAsync
            return None
        return [segment for segment in found if segment["device"] == self._device]

    def _note_segments(self, segments: list[Any] | None) -> None:
        if segments is None:
            self._expandable = False
        elif segments:
            self._expandable = any(segment.get("is_expandable", self._asked) for segment in segments)


def readings_for(torch: Any, device: Any) -> Any:
    """The readings that fit a device."""
    if device.type == "cpu":
        return HostReadings()
    if device.type == "cuda" and torch.version.cuda is not None:
        return CudaReadings(torch, device.index or 0)
    return SilentReadings()


def expandable_segments(environment: Mapping[str, str]) -> bool:
    """Whether the CUDA allocator was told to use expandable segments, by its environment."""
    names = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
    options = ",".join(environment.get(name, "") for name in names).replace(" ", "").lower()
    return "expandable_segments:true" in options.split(",")
