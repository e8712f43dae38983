"""A bench for each collector of ours: its source can be broken, mended, and made to hang.

A new collector needs one here: ``test_conformance.py`` asks for it.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from tests.collectors.exporter_fake import serving
from tests.collectors.gate import Gate
from tests.collectors.host_fake import FakeSystem
from tests.collectors.journal_fakes import MEMORY, FakeClock, Host, communication, header, step, steps
from tests.collectors.nvml_fake import FakeGpu, FakeNvml

from flyball.collectors import allocator, dcgm, host, nccl, nvml, workload
from flyball.collectors.base import Collector
from flyball.collectors.nvml_identity import local_gpus
from flyball.collectors.registry import CollectorType, Surroundings
from flyball.collectors.runs import Runs


class OwnBench:
    """What the benches share; see ``flyball.collectors.testing.Bench``."""

    def __init__(
        self,
        kind: CollectorType,
        collector: Collector,
        clock: FakeClock,
        *,
        break_source: Callable[[], None],
        mend_source: Callable[[], None],
        gate: Gate,
    ) -> None:
        self.kind, self.collector, self.clock = kind, collector, clock
        self.break_source, self.mend_source = break_source, mend_source
        self.gate = gate
        """While it is shut, the source hangs."""

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)


def alone(clock: FakeClock) -> Surroundings:
    """A host without runs."""
    return Surroundings(host="here", clock=clock, runs=Runs([], clock=clock, host="here"))


class GatedNvml(FakeNvml):
    """A driver whose every call can hang."""

    def __init__(self, *gpus: FakeGpu) -> None:
        super().__init__(*gpus)
        self.gate = Gate()

    def _call(self, name: str, gpu: FakeGpu | None = None) -> None:
        self.gate.go_through()
        super()._call(name, gpu)

    def unload(self) -> None:
        """As ``rmmod nvidia`` does."""
        self.initialized, self.faults["nvmlInit"] = 0, 9


@contextmanager
def nvml_bench(_: Path) -> Iterator[OwnBench]:
    clock = FakeClock()
    driver = GatedNvml(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b", gpm_supported=False))
    collector = nvml.NvmlCollector(alone(clock), interval_seconds=1.0, nvml=driver)
    yield OwnBench(
        nvml.TYPE,
        collector,
        clock,
        break_source=driver.unload,
        mend_source=driver.faults.clear,
        gate=driver.gate,
    )


@contextmanager
def dcgm_bench(_: Path) -> Iterator[OwnBench]:
    clock, driver = FakeClock(), FakeNvml(FakeGpu(uuid="GPU-a", gpm_supported=False))
    with serving() as exporter:
        collector = dcgm.DcgmCollector(
            alone(clock),
            interval_seconds=5.0,
            url=exporter.url,
            timeout_seconds=60.0,
            gpus=lambda: local_gpus(driver),
        )
        yield OwnBench(
            dcgm.TYPE,
            collector,
            clock,
            break_source=lambda: setattr(exporter, "status", 500),
            mend_source=lambda: setattr(exporter, "status", 200),
            gate=exporter.gate,
        )


class GatedProcesses:
    """The one process of the journals, which lives; the question for it can hang."""

    def __init__(self) -> None:
        self.gate = Gate()

    def __call__(self, pid: int) -> float | None:
        self.gate.go_through()
        return 4_000.0 if pid == 100 else None


def journal_bench(
    kind: CollectorType, make: Callable[..., Collector]
) -> Callable[[Path], AbstractContextManager[OwnBench]]:
    """For a collector that reads the journals; their folder is replaced by a link, which is not followed."""

    @contextmanager
    def bench(folder: Path) -> Iterator[OwnBench]:
        here, processes = Host(folder), GatedProcesses()
        here.processes = processes  # type: ignore[assignment]
        here.write(header(device="cuda:0", gpu_uuid="GPU-a") + steps(range(1, 9)))
        here.write(step(9, 3.0, memory=MEMORY, communicated={"all_reduce": 100}))
        here.write(communication(3.0, [3, 1, 0], 0.5))
        run, hidden = here.root / "job", folder / "hidden"

        def swap() -> None:
            run.rename(hidden)
            run.symlink_to(hidden)

        def swap_back() -> None:
            run.unlink()
            hidden.rename(run)

        runs = here.runs(scan_seconds=0.0)
        surroundings = Surroundings(host="here", clock=here.clock, runs=runs)
        yield OwnBench(
            kind,
            make(surroundings, interval_seconds=1.0),
            here.clock,
            break_source=swap,
            mend_source=swap_back,
            gate=processes.gate,
        )
        runs.close()

    return bench


class DeniedSystem(FakeSystem):
    """A machine whose /proc can be hidden."""

    denied = False

    def __getattribute__(self, name: str) -> Any:
        if name != "denied" and not name.startswith("_") and self.denied:
            raise PermissionError(13, "Permission denied")
        return super().__getattribute__(name)


@contextmanager
def host_bench(folder: Path) -> Iterator[OwnBench]:
    here, system, gate = Host(folder), DeniedSystem(), Gate()

    def statvfs(_: str) -> os.statvfs_result:
        gate.go_through()
        return os.statvfs_result((4096, 4096, 100, 60, 50, 9, 9, 9, 0, 255))

    runs = here.runs()
    collector = host.HostCollector(
        Surroundings(host="here", clock=here.clock, runs=runs),
        interval_seconds=5.0,
        infiniband=folder / "none",
        system=system,
        statvfs=statvfs,
    )
    yield OwnBench(
        host.TYPE,
        collector,
        here.clock,
        break_source=lambda: setattr(system, "denied", True),
        mend_source=lambda: setattr(system, "denied", False),
        gate=gate,
    )
    runs.close()


BENCHES: Mapping[str, Callable[[Path], AbstractContextManager[OwnBench]]] = {
    "nvml": nvml_bench,
    "dcgm": dcgm_bench,
    "workload": journal_bench(workload.TYPE, workload.WorkloadCollector),
    "allocator": journal_bench(allocator.TYPE, allocator.AllocatorCollector),
    "nccl": journal_bench(nccl.TYPE, nccl.NcclCollector),
    "host": host_bench,
}
"""By the collector's name."""
