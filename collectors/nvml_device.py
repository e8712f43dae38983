"""One NVIDIA GPU, or one MIG instance of it, as NVML sees it."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from flyball.collectors import catalog
from flyball.collectors.base import Metric, Unavailable
from flyball.collectors.nvml_faults import ask
from flyball.collectors.nvml_gpm import METRICS, Gpm

ENERGY_EVERY = 60
"""Collections from one reading of the energy counter to the next: a call takes 3 ms, others microseconds."""

ROWS_SECONDS = 60.0
"""From one reading of the row remapper to the next: it changes with a memory error or a reset, seldom."""

THROTTLING: Final = {
    "applications_clocks_setting": 0x2,
    "sw_power_cap": 0x4,
    "hw_slowdown": 0x8,
    "sync_boost": 0x10,
    "sw_thermal_slowdown": 0x20,
    "hw_thermal_slowdown": 0x40,
    "hw_power_brake_slowdown": 0x80,
    "display_clock_setting": 0x100,
}
"""Bits of nvmlClocksEventReasons; an idle GPU's low clocks are none of them."""

WITH_SOURCE = {
    catalog.GPU_SM_UTILIZATION,
    catalog.GPU_SM_OCCUPANCY,
    catalog.GPU_TENSOR_ACTIVE,
    catalog.GPU_DRAM_BANDWIDTH,
}

Value = float | Unavailable
Found = tuple[Metric, tuple[str, ...], Value]
"""A metric, what its labels have beyond the GPU's own, and its value."""


class Device:
    """What one GPU says.

    Args:
        nvml: the ``pynvml`` module, or what stands in for it.
        handle: of the GPU, or of the MIG instance.
        gpu: its index; of a MIG instance the GPU's and its own, as in ``0/1``.
        parent: handle of the GPU that a MIG instance is part of; None for a whole GPU.
        energy_every: readings from one of the energy counter to the next.

    Raises:
        pynvml.NVMLError: it is not there any more.
    """

    def __init__(
        self, nvml: Any, handle: Any, gpu: str, *, parent: Any = None, energy_every: int = ENERGY_EVERY
    ) -> None:
        self.nvml, self.handle, self.gpu = nvml, handle, gpu
        uuid = nvml.nvmlDeviceGetUUID(handle)
        self.uuid: str = uuid.decode() if isinstance(uuid, bytes) else uuid
        self.is_instance = parent is not None
        self.instance = int(nvml.nvmlDeviceGetGpuInstanceId(handle)) if self.is_instance else None
        self._gpm = Gpm(nvml, parent if self.is_instance else handle, instance=self.instance)
        self._energy: Value | None = None
        self._energy_every = energy_every
        self._collections = 0
        self._rows: Mapping[str, Value] = {}
        self._rows_read_at = float("-inf")

    def read(self, now: float) -> Iterator[Found]:
        """Everything, as of ``now`` on the monotonic clock."""
        for metric, value in self._gpm.read(now).items():
            yield metric, ("gpm",) if metric in WITH_SOURCE else (), value
        yield from self._memory()
        if self.is_instance:
            return  # power, clocks and errors are the whole GPU's
        yield catalog.GPU_BUSY, ("nvml",), self._ask(self._busy)
        yield catalog.GPU_POWER, (), self._ask(lambda: self.nvml.nvmlDeviceGetPowerUsage(self.handle) / 1e3)
        yield catalog.GPU_ENERGY, (), self._energy_joules()
        yield catalog.GPU_TEMPERATURE, (), self._ask(self._temperature)
        yield catalog.GPU_SM_CLOCK, (), self._ask(self._sm_clock)
        yield from self._throttling()
        for kind, error_type in (("corrected", 0), ("uncorrected", 1)):
            yield catalog.GPU_ECC_ERRORS, (kind,), self._ask(partial(self._ecc, error_type))
        for state, value in self._row_remapping(now).items():
            yield catalog.GPU_ROW_REMAPPING, (state,), value

    def _ask(self, call: Callable[[], Any]) -> Value:
        found = ask(self.nvml, call)
        return found if isinstance(found, Unavailable) else float(found)

    def _memory(self) -> Iterator[Found]:
        found = ask(self.nvml, lambda: self.nvml.nvmlDeviceGetMemoryInfo(self.handle))
        if isinstance(found, Unavailable):
            yield catalog.GPU_MEMORY_USED, (), found
            yield catalog.GPU_MEMORY_TOTAL, (), found
            return
        yield catalog.GPU_MEMORY_USED, (), float(found.used)
        yield catalog.GPU_MEMORY_TOTAL, (), float(found.total)

    def _busy(self) -> float:
        return float(self.nvml.nvmlDeviceGetUtilizationRates(self.handle).gpu) / 100

    def _temperature(self) -> float:
        return float(self.nvml.nvmlDeviceGetTemperature(self.handle, self.nvml.NVML_TEMPERATURE_GPU))

    def _sm_clock(self) -> float:
        return float(self.nvml.nvmlDeviceGetClockInfo(self.handle, self.nvml.NVML_CLOCK_SM)) * 1e6

    def _energy_joules(self) -> Value:
        if self._energy is None or self._collections % self._energy_every == 0:
            self._energy = self._ask(lambda: self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle) / 1e3)
        self._collections += 1
        return self._energy

    def _throttling(self) -> Iterator[Found]:
        found = ask(self.nvml, lambda: clocks_event_reasons(self.nvml, self.handle))
        for reason, bit in THROTTLING.items():
            value = found if isinstance(found, Unavailable) else float(bool(found & bit))
            yield catalog.GPU_THROTTLED, (reason,), value

    def _ecc(self, kind: int) -> float:
        return float(self.nvml.nvmlDeviceGetTotalEccErrors(self.handle, kind, self.nvml.NVML_VOLATILE_ECC))

    def _row_remapping(self, now: float) -> Mapping[str, Value]:
        if not 0 <= now - self._rows_read_at < ROWS_SECONDS:
            self._rows, self._rows_read_at = self._read_rows(), now
        return self._rows

    def _read_rows(self) -> Mapping[str, Value]:
        found = ask(self.nvml, lambda: self.nvml.nvmlDeviceGetRemappedRows(self.handle))
        if isinstance(found, Unavailable):
            return dict.fromkeys(("pending", "failed", "uncorrectable"), found)
        _, uncorrectable, pending, failed = found
        return {
            "pending": float(bool(pending)),
            "failed": float(bool(failed)),
            "uncorrectable": float(uncorrectable),
        }

    def close(self) -> None:
        """Give back what GPM holds."""
        self._gpm.close()


def clocks_event_reasons(nvml: Any, handle: Any) -> int:
    """What sets a GPU's clocks now, as bits. Raises NVMLError."""
    current = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None)
    # The name before driver 535.
    call = current or nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    return int(call(handle))


def instances(nvml: Any, handle: Any, gpu: str) -> Iterator[Device]:
    """The MIG instances of a GPU; none where MIG is off or unknown."""
    mode = ask(nvml, lambda: nvml.nvmlDeviceGetMigMode(handle)[0])
    if isinstance(mode, Unavailable) or not mode:
        return
    count = ask(nvml, lambda: int(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)))
    for place in range(0 if isinstance(count, Unavailable) else count):
        found = ask(nvml, partial(_instance, nvml, handle, gpu, place))
        if not isinstance(found, Unavailable):
            yield found


def _instance(nvml: Any, handle: Any, gpu: str, place: int) -> Device:
    own = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, place)
    return Device(nvml, own, f"{gpu}/{place}", parent=handle)


def unavailable(why: Unavailable) -> Iterator[Found]:
    """What is not known of a GPU that is lost: everything."""
    for metric in METRICS:
        yield metric, ("gpm",) if metric in WITH_SOURCE else (), why
