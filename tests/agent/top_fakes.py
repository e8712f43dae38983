"""A machine for ``flyball top``: GPUs, a host and journals that say what they are told."""

import io
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.collectors.journal_fakes import FakeClock, Host, header, line, step, steps
from tests.collectors.nvml_fake import FakeGpu, FakeNvml

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.collectors.host import HostCollector
from flyball.collectors.nvml import NvmlCollector
from flyball.collectors.registry import CollectorType, Surroundings, collector_types
from flyball.collectors.unprobed import Unprobed
from flyball.collectors.workload import WorkloadCollector

GIB = 1 << 30
MEMORY = {
    "allocated": 30 * GIB, "reserved": 41 * GIB, "active": 31 * GIB, "inactive_split": GIB,
    "peak_active": 33 * GIB, "peak_allocated": 32 * GIB, "peak_reserved": 44 * GIB, "retries": 0, "ooms": 0,
}  # fmt: skip


class FakeSystem:
    """psutil of a machine whose processors are busy for a quarter of the time."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def cpu_times(self) -> Any:
        return SimpleNamespace(
            user=self._clock.now * 0.25, idle=self._clock.now * 0.7, iowait=self._clock.now * 0.05
        )

    def getloadavg(self) -> tuple[float, float, float]:
        return 3.2, 2.0, 1.0

    def virtual_memory(self) -> Any:
        return SimpleNamespace(total=64 * GIB, available=52 * GIB)

    def swap_memory(self) -> Any:
        return SimpleNamespace(used=0)

    def disk_io_counters(self, perdisk: bool) -> Mapping[str, Any]:
        return {}

    def net_io_counters(self, pernic: bool) -> Mapping[str, Any]:
        return {}


class Machine:
    """What ``flyball top`` looks at; journals are written by ``host``."""

    def __init__(self, folder: Path, *gpus: FakeGpu, driver: str = "580.1") -> None:
        self.host = Host(folder)
        self.nvml = FakeNvml(*gpus)
        self.driver = driver if gpus else ""
        if not gpus:
            self.nvml.faults["nvmlInit"] = 12
        self.unprobed: Sequence[Unprobed] = ()

    def types(self) -> dict[str, CollectorType]:
        def nvml(settings: Any, around: Surroundings) -> NvmlCollector:
            return NvmlCollector(around, interval_seconds=1.0, nvml=self.nvml)

        def host(settings: Any, around: Surroundings) -> HostCollector:
            return HostCollector(around, interval_seconds=1.0, system=FakeSystem(self.host.clock))

        def workload(settings: Any, around: Surroundings) -> WorkloadCollector:
            uuids = {gpu.uuid: str(index) for index, gpu in enumerate(self.nvml.gpus)}
            return WorkloadCollector(
                around, interval_seconds=1.0, gpu_indices=lambda: uuids, unprobed=lambda _: self.unprobed
            )

        made: dict[str, Any] = {"nvml": nvml, "host": host, "workload": workload}
        return {
            name: replace(kind, make=made.get(name, kind.make)) for name, kind in collector_types().items()
        }

    def wiring(self) -> Wiring:
        return Wiring(collector_types=self.types, driver_version=lambda: self.driver, clock=self.host.clock)

    def top(self, *options: str, runs: bool = True) -> tuple[int, str, str]:
        """Exit status, stdout and stderr of ``flyball top``, in a pipe."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            own = ["--runs", str(self.host.root)] if runs else []
            status = run(["top", *options, *own], wiring=self.wiring())
        return status, out.getvalue(), err.getvalue()

    def page(self) -> list[str]:
        """The lines of ``flyball top --once``."""
        status, out, err = self.top("--once")
        assert (status, err) == (0, "")
        return out.splitlines()

    def write_run(self, name: str, *seconds: float, world_size: int | None = None, **fields: Any) -> None:
        """A run with a rank for each step time, each on the GPU of its number."""
        for rank, each in enumerate(seconds):
            count = len(self.nvml.gpus)
            place = {"device": f"cuda:{rank}", "gpu_uuid": self.nvml.gpus[rank % count].uuid} if count else {}
            head = header(
                rank=rank, pid=100 + rank, world_size=world_size or len(seconds), **{**place, **fields}
            )
            memory = {"memory": MEMORY} if count else {"memory": {"rss": 1, "peak_rss": 1}}
            self.host.write(head + steps(range(1, 9), seconds=each, **memory), run=name, rank=rank)


def links(at: float, *pairs: tuple[int, int]) -> bytes:
    """Latencies between ranks: half of them up to 40 microseconds."""
    p2p = [
        {"src": src, "dst": dst, "size_class": "8KiB", "source": "in_band", "counts": [0, 4, 0], "sum": 1e-4}
        for src, dst in pairs
    ]
    return line("communication", at, engine=0, bounds=[20e-6, 40e-6], p2p=p2p)


def cells(row: str) -> list[str]:
    """What stands in a line, split where there are two blanks."""
    return re.split(r"\s{2,}", row.strip())


__all__ = ["FakeGpu", "Machine", "cells", "header", "line", "links", "step", "steps"]
