"""Follows PyTorch's flight recorder of NCCL operations from a thread of its own, at a low rate.

Counts operations, takes latencies only from true durations (``duration_ms``, which the recorder has with
TORCH_NCCL_ENABLE_TIMING=1), and says when an operation hangs, even while no step ends. A read asks for no
stack traces; its cost is measured, and the next waits until all of them are below a thousandth of the time.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flyball.runner.probe.flight_entries import Pending, Reader, oldest_pending
from flyball.runner.probe.latency import Latencies
from flyball.runner.probe.watch import Probe

RING_ENTRIES = "1024"
RING_VARIABLES = ("TORCH_FR_BUFFER_SIZE", "TORCH_NCCL_TRACE_BUFFER_SIZE")
READ_SECONDS = 10.0
"""From one whole read to the next."""
LOOK_SECONDS = 5.0
"""From one look at what is active to the next."""
PENDING_SECONDS = 10.0
"""Age at which an operation is reported."""
SHARE = 0.0004
"""Of the time, for whole reads; as much again for looks: less than a thousandth together."""

Dump = Callable[..., bytes]


def keep_ring_small(environment: Any, torch_version: str) -> None:
    """Ask for a ring of RING_ENTRIES, unless the user asked for one; before a process group is made.

    The variable was renamed in torch 2.9. The old name draws a warning from newer versions, so only the one
    that this version knows is set.
    """
    if any(name in environment for name in RING_VARIABLES):
        return
    parts = torch_version.split(".")
    renamed = tuple(int(part) for part in parts[:2] if part.isdigit()) >= (2, 9)
    environment[RING_VARIABLES[0 if renamed else 1]] = RING_ENTRIES


def recorder_of(torch: Any) -> Dump | None:
    """torch's dump of what NCCL was asked to do, where there is NCCL, a peer, and a recorder that is on."""
    distributed = torch.distributed
    if not distributed.is_initialized() or distributed.get_world_size() < 2:
        return None
    if "nccl" not in str(distributed.get_backend()) or _ring_is_off():
        return None
    return getattr(torch._C._distributed_c10d, "_dump_nccl_trace", None)


def _ring_is_off() -> bool:
    return any(os.environ.get(name) == "0" for name in RING_VARIABLES)


def begin(probe: Probe, engine: int) -> None:
    """Follow the recorder of this process, once, where there is one."""
    if probe.flight_recorder is not None:
        return
    dump = recorder_of(sys.modules["torch"])
    if dump is not None:
        probe.flight_recorder = recorder = FlightRecorder(dump, probe.journal.record, engine=engine)
        recorder.start(lambda: probe.watching and sys.modules["torch"].distributed.is_initialized())


class Pace:
    """When something that costs time may be done again."""

    __slots__ = ("due_at", "interval", "share")

    def __init__(self, interval: float, share: float) -> None:
        self.interval, self.share = interval, share
        self.due_at = 0.0

    def spent(self, now: float, cost: float) -> None:
        """It was done, and took ``cost`` seconds."""
        self.due_at = now + max(self.interval, cost / self.share)


class FlightRecorder:
    """Reads, looks, and writes records; ``tick`` is one turn of its thread."""

    def __init__(
        self,
        dump: Dump,
        record: Callable[..., None],
        *,
        engine: int = 0,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
        stopwatch: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._dump, self._record, self._engine = dump, record, engine
        self._clock, self._now, self._stopwatch = clock, now, stopwatch
        self.reads = Pace(READ_SECONDS, SHARE)
        self.looks = Pace(LOOK_SECONDS, SHARE)
        self._reader = Reader()
        self._latencies = Latencies()
        self._pending: Pending | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self._goes_on: Callable[[], bool] = bool

    def start(self, goes_on: Callable[[], bool]) -> None:
        """Begin, in a daemon thread that ends once ``goes_on`` says no, or with :meth:`stop`."""
        self._goes_on = goes_on
        self._thread = threading.Thread(target=self._run, name="flyball-flight-recorder", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stopped.wait(LOOK_SECONDS) and self._goes_on():
                self.tick()
        except Exception as error:  # a fault of ours ends the reading and touches nothing else
            value = {"reason": f"{type(error).__name__}: {error}"}
            self._record("witness", knob="flight_recorder", value=value)

    def stop(self) -> None:
        """End the thread, and read once more what is left."""
        self._stopped.set()
        if self._thread is None:
            return
        self._thread.join(1.0)
        # The entries of a destroyed process group refer to events that are gone.
        if not self._thread.is_alive() and self._goes_on():
            self.read()

    def tick(self) -> None:
        """Read all where that is due, else look at what is active, and read all if something is old."""
        now = self._clock()
        if now >= self.reads.due_at:
            self.read()
        elif now >= self.looks.due_at:
            begun = self._stopwatch()
            if self._pending is not None or self._looks_old():
                self.read()
            self.looks.spent(self._clock(), self._stopwatch() - begun)

    def _looks_old(self) -> bool:
        entries = self._entries(only_active=True)[0]
        oldest = min((entry["time_created_ns"] for entry in entries), default=None)
        return oldest is not None and self._now() - oldest / 1e9 >= PENDING_SECONDS

    def read(self) -> None:
        """Take what the ring holds: counts, durations, and whether something hangs."""
        begun = self._stopwatch()
        entries, groups = self._entries(only_active=False)
        self._reader.read(entries, groups, self._latencies)
        fields = self._latencies.take(self._clock())
        if fields is not None:
            self._record("communication", engine=self._engine, **fields)
        self._hanging(oldest_pending(entries), entries)
        self.reads.spent(self._clock(), self._stopwatch() - begun)

    def _entries(self, *, only_active: bool) -> tuple[Sequence[Mapping[str, Any]], dict[str, list[int]]]:
        # A pickle of this process's own making.
        found = pickle.loads(
            self._dump(includeCollectives=True, includeStackTraces=False, onlyActive=only_active)
        )
        groups = {}
        for name, group in (found.get("pg_config") or {}).items():
            ranks = group.get("ranks")
            if ranks:
                groups[str(name)] = [int(rank) for rank in json.loads(ranks)]
        return found.get("entries") or (), groups

    def _hanging(self, oldest: Pending | None, entries: Sequence[Mapping[str, Any]]) -> None:
        known = self._pending
        if known is not None and (oldest is None or oldest.record_id != known.record_id):
            self._pending = None
            ended = _completed(known, entries) or self._now()
            self._say(known, "end", max(0.0, ended - known.created))
        if oldest is None or self._pending is not None:
            return
        age = self._now() - oldest.created
        if age >= PENDING_SECONDS:
            self._pending = oldest
            self._say(oldest, "begin", age)

    def _say(self, pending: Pending, edge: str, seconds: float) -> None:
        self._record("pending", op=pending.op, seconds=round(seconds, 3), edge=edge)


def _completed(pending: Pending, entries: Sequence[Mapping[str, Any]]) -> float | None:
    """When an operation was seen to be complete, in seconds since the epoch; None where it is gone."""
    for entry in entries:
        if entry["record_id"] == pending.record_id:
            completed = entry.get("time_discovered_completed_ns")
            return completed / 1e9 if completed else None
    return None
