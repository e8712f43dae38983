"""The queue of a serving loop, in the journal; one that serves without an engine gets a header."""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from flyball.runner.probe.header import SCHEMA, gpu_uuid, versions
from flyball.runner.probe.origin import origin_fields
from flyball.runner.probe.process import pid_namespace, process_started, rank
from flyball.runner.probe.watch import SLOT, Probe


def report_queue(queue_length: int, running: int | None) -> None:
    """Write a ``queue`` record, where a probe is active and speaks for a rank; never raises."""
    probe = SLOT.probe
    if probe is not None and probe.watching:
        probe.safely(_write, probe, queue_length, running)


def _write(probe: Probe, queue_length: int, running: int | None) -> None:
    if probe.journal.is_open or _opens(probe):
        probe.journal.record("queue", queue_length=queue_length, running=running)


def _opens(probe: Probe) -> bool:
    # What a trial measures is its engine; a helper process has no rank to speak for.
    if probe.trial or not probe.speaks:
        return False
    probe.journal.open(rank())
    if probe.journal.is_open:
        probe.journal.record("header", **serving_header(probe))
    return probe.journal.is_open


def serving_header(probe: Probe) -> dict[str, Any]:
    """The header of a process that has no engine of DeepSpeed's (docs/journal.md)."""
    device, uuid = _device()
    fields = {
        "schema": SCHEMA,
        "run": probe.settings.run,
        "purpose": probe.settings.purpose,
        "rank": rank(),
        "local_rank": _number("LOCAL_RANK", 0),
        "world_size": _number("WORLD_SIZE", 1),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "engine": None,
        "device": device,
        "gpu_uuid": uuid,
        "versions": versions(),
        "started": process_started(),
        "pid_namespace": pid_namespace(),
    }
    return {**fields, **origin_fields(probe)} if fields["rank"] == 0 else fields


def _device() -> tuple[str, str | None]:
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    # Asked only where the process has already begun to use a GPU: the question itself would begin it.
    if cuda is None or not cuda.is_initialized():
        return "cpu", None
    torch = sys.modules["torch"]
    device = torch.device("cuda", cuda.current_device())
    return str(device), gpu_uuid(torch, device)


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isdigit() else default
