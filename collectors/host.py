"""The machine around the GPUs: processors, memory, disks, network, RDMA ports, room for checkpoints."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psutil
from pydantic import Field

from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample, Unavailable
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings

RDMA_WORD_BYTES = 4
"""The data counters count words of four bytes (InfiniBand Architecture Specification, PortCounters)."""

RDMA_ERRORS = (
    *("symbol_error", "link_downed", "link_error_recovery", "port_rcv_errors", "port_xmit_discards"),
    *("local_link_integrity_errors", "excessive_buffer_overrun_errors", "packet_seq_err", "out_of_sequence"),
    *("rnr_nak_retry_err", "local_ack_timeout_err", "np_cnp_sent", "rp_cnp_handled", "roce_adp_retrans"),
)
"""Counters of sysfs' ``counters`` and ``hw_counters`` that tell of trouble on the link."""

_Reading = tuple[Metric, tuple[str, ...], float | Unavailable]
"""A metric, its labels without the host, and its value."""

_CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class HostCollector:
    """Reads psutil and sysfs.

    Args:
        surroundings: host, clock and journals.
        interval_seconds: from one reading to the next.
        infiniband: sysfs' folder of RDMA devices.
        system: the ``psutil`` module, or what stands in for it.
        statvfs: ``os.statvfs``.
    """

    name = "host"

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        interval_seconds: float,
        infiniband: Path = Path("/sys/class/infiniband"),
        system: Any = psutil,
        statvfs: Callable[[str], os.statvfs_result] = os.statvfs,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._surroundings, self._infiniband = surroundings, infiniband
        self._system, self._statvfs = system, statvfs

    def collect(self) -> Iterable[Sample]:
        """All of it; what this machine does not have (RDMA ports) is left out, what it hides has a reason."""
        now, host = self._surroundings.clock.time(), self._surroundings.host
        for metric, labels, value in self._readings():
            yield Sample(metric=metric, labels=(host, *labels), value=value, time=now)

    def _readings(self) -> Iterator[_Reading]:
        for read, metric in (
            (self._processors, catalog.HOST_CPU),
            (self._load, catalog.HOST_LOAD),
            (self._memory, catalog.HOST_MEMORY_TOTAL),
            (self._swap, catalog.HOST_SWAP_USED),
            (self._disks, catalog.HOST_DISK_READ),
            (self._network, catalog.HOST_NETWORK_RECEIVED),
        ):
            yield from _whole(read, metric)
        yield from self._file_systems()
        yield from self._rdma()

    def _processors(self) -> Iterator[_Reading]:
        times = self._system.cpu_times()
        for mode in _CPU_MODES:
            if hasattr(times, mode):
                yield catalog.HOST_CPU, (mode,), float(getattr(times, mode))

    def _load(self) -> Iterator[_Reading]:
        yield catalog.HOST_LOAD, (), float(self._system.getloadavg()[0])

    def _memory(self) -> Iterator[_Reading]:
        memory = self._system.virtual_memory()
        yield catalog.HOST_MEMORY_TOTAL, (), float(memory.total)
        yield catalog.HOST_MEMORY_AVAILABLE, (), float(memory.available)

    def _swap(self) -> Iterator[_Reading]:
        yield catalog.HOST_SWAP_USED, (), float(self._system.swap_memory().used)

    def _disks(self) -> Iterator[_Reading]:
        counters = self._system.disk_io_counters(perdisk=True)
        if not counters:
            yield (
                catalog.HOST_DISK_READ,
                ("",),
                Unavailable(reason="no_disk_counters", detail="the kernel counts no disk"),
            )
            return
        for device, found in counters.items():
            if device.startswith(("loop", "ram", "zram")):
                continue
            yield catalog.HOST_DISK_READ, (device,), float(found.read_bytes)
            yield catalog.HOST_DISK_WRITTEN, (device,), float(found.write_bytes)

    def _network(self) -> Iterator[_Reading]:
        for device, found in self._system.net_io_counters(pernic=True).items():
            yield catalog.HOST_NETWORK_RECEIVED, (device,), float(found.bytes_recv)
            yield catalog.HOST_NETWORK_SENT, (device,), float(found.bytes_sent)
            yield catalog.HOST_NETWORK_ERRORS, (device, "receive"), float(found.errin + found.dropin)
            yield catalog.HOST_NETWORK_ERRORS, (device, "send"), float(found.errout + found.dropout)

    def _file_systems(self) -> Iterator[_Reading]:
        runs = self._surroundings.runs
        folders = {str(root) for root in runs.roots}
        folders |= {
            state.checkpoint_folder
            for state in runs.refresh()
            if state.checkpoint_folder and state.purpose == "run" and state.finished_time is None
        }
        for folder in sorted(folders):
            try:
                found = self._statvfs(folder)
            except OSError:
                continue  # not there yet; it appears with its first run
            yield catalog.HOST_FILESYSTEM_FREE, (folder,), float(found.f_bavail * found.f_frsize)
            yield catalog.HOST_FILESYSTEM_SIZE, (folder,), float(found.f_blocks * found.f_frsize)

    def _rdma(self) -> Iterator[_Reading]:
        for port in sorted(self._infiniband.glob("*/ports/*")):
            labels = (port.parent.parent.name, port.name)
            for name, metric in (
                ("port_rcv_data", catalog.RDMA_RECEIVED),
                ("port_xmit_data", catalog.RDMA_SENT),
            ):
                words = _number(port / "counters" / name)
                if words is not None:
                    yield metric, labels, float(words * RDMA_WORD_BYTES)
            for name in RDMA_ERRORS:
                for folder in ("counters", "hw_counters"):
                    count = _number(port / folder / name)
                    if count is not None:
                        yield catalog.RDMA_ERRORS, (*labels, name), float(count)

    def close(self) -> None:
        """Hold nothing."""


def _whole(read: Callable[[], Iterator[_Reading]], metric: Metric) -> list[_Reading]:
    """All that one source gives, or why it gives nothing: a container may hide a file of /proc."""
    try:
        return list(read())
    except (OSError, RuntimeError, psutil.Error) as error:
        reason = "no_permission" if isinstance(error, PermissionError) else "not_readable"
        why = Unavailable(reason=reason, detail=f"{metric.name}: {type(error).__name__}: {error}")
        return [(metric, ("",) * (len(metric.labels) - 1), why)]


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


class HostSettings(CollectorSettings):
    """Once in five seconds is enough: these counters only grow."""

    interval_seconds: float = Field(default=5.0, ge=0.1, le=3600, description="From one reading to the next.")


def _make(settings: CollectorSettings, surroundings: Surroundings) -> HostCollector:
    return HostCollector(surroundings, interval_seconds=settings.interval_seconds)


TYPE = CollectorType(
    name="host",
    help="processors, memory, disks, network, RDMA ports and room for checkpoints",
    settings=HostSettings,
    make=_make,
    shares_thread=True,
)
