"""NVIDIA GPUs by NVML: utilization, memory, power, clocks, links, errors. No NVMLError leaves this file."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import pynvml

from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Sample, Unavailable
from flyball.collectors.nvml_device import ENERGY_EVERY, Device, instances, unavailable
from flyball.collectors.nvml_faults import GPU_FAULTS, LOST, NO_EVENT, ask, reason_of
from flyball.collectors.nvml_xids import AWAITED
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings

LOOK_AGAIN_SECONDS = 30.0
"""While a GPU is lost, the driver is asked anew for it so often; the others' baselines are lost by that."""

MOST_EVENTS = 100


class NvmlCollector:
    """Reads every GPU of this host, and its MIG instances.

    After a fault that makes handles worthless (driver reload, lost GPU) the library is initialized anew.

    Args:
        surroundings: host, clock and journals.
        interval_seconds: from one reading to the next.
        energy_every: collections from one reading of the energy counter to the next.
        nvml: the ``pynvml`` module of nvidia-ml-py, or what stands in for it.
    """

    name = "nvml"

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        interval_seconds: float,
        energy_every: int = ENERGY_EVERY,
        nvml: Any = pynvml,
    ) -> None:
        self.interval_seconds = interval_seconds
        self._energy_every = energy_every
        self._surroundings, self._nvml = surroundings, nvml
        self._open = False
        self._devices: list[Device] = []
        self._missing: dict[tuple[str, str], Unavailable] = {}
        self._uuids: dict[str, str] = {}
        """Of the GPUs seen so far, by index: one that is lost no longer tells its own."""
        self._events: Any = None
        self._no_events: Unavailable | None = None
        self._xids: dict[tuple[str, str, str, str], int] = {}
        """Events by host, GPU, UUID and XID."""
        self._looked_at = self._time = 0.0

    def collect(self) -> Iterable[Sample]:
        """All metrics of all GPUs; rates need a second collection. Raises CollectorFailed."""
        now, self._time = self._surroundings.clock.monotonic(), self._surroundings.clock.time()
        if self._missing and now - self._looked_at >= LOOK_AGAIN_SECONDS:
            self.close()
        if not self._open:
            self._start(now)
        return [*self._lost(), *self._readings(now), *self._presence(), *self._xid_counts()]

    def _start(self, now: float) -> None:
        nvml = self._nvml
        try:
            nvml.nvmlInit()
            self._open, self._looked_at = True, now
            count = int(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            self.close()
            raise CollectorFailed(reason_of(int(getattr(error, "value", 999))), str(error)) from error
        if not count:
            self.close()
            raise CollectorFailed("no_gpu", "the driver lists no GPU")
        for index in range(count):
            self._take(index)
        self._listen()

    def _take(self, index: int) -> None:
        nvml, gpu = self._nvml, str(index)
        found = ask(
            nvml,
            lambda: Device(
                nvml, nvml.nvmlDeviceGetHandleByIndex(index), gpu, energy_every=self._energy_every
            ),
        )
        if isinstance(found, Unavailable):
            self._missing[gpu, ""] = found
            return
        self._devices.append(found)
        self._uuids[gpu] = found.uuid
        self._devices.extend(instances(nvml, found.handle, gpu))

    def _listen(self) -> None:
        nvml = self._nvml

        def register() -> Any:
            events = nvml.nvmlEventSetCreate()
            for device in self._devices:
                if not device.is_instance:
                    nvml.nvmlDeviceRegisterEvents(device.handle, nvml.nvmlEventTypeXidCriticalError, events)
            return events

        found = ask(nvml, register)
        self._no_events = found if isinstance(found, Unavailable) else None
        self._events = None if isinstance(found, Unavailable) else found
        if self._events is not None:
            for device in self._devices:
                if not device.is_instance:
                    for xid in AWAITED:
                        self._xids.setdefault((self._surroundings.host, device.gpu, device.uuid, xid), 0)

    def _lost(self) -> Iterator[Sample]:
        for (gpu, uuid), why in self._missing.items():
            for metric, more, value in unavailable(why):
                yield self._sample(metric, (gpu, uuid), more, value)

    def _readings(self, now: float) -> Iterator[Sample]:
        for device in list(self._devices):
            for metric, more, value in device.read(now):
                if isinstance(value, Unavailable) and value.reason in LOST:
                    self._lose(device, value)
                yield self._sample(metric, (device.gpu, device.uuid), more, value)

    def _presence(self) -> Iterator[Sample]:
        lost = {gpu for (gpu, _), why in self._missing.items() if why.reason in GPU_FAULTS}
        for gpu in {device.gpu for device in self._devices} | lost:
            if "/" not in gpu:  # else a MIG instance
                labels = (gpu, self._uuids.get(gpu, ""))
                yield self._sample(catalog.GPU_LOST, labels, (), float(gpu in lost))

    def _lose(self, device: Device, why: Unavailable) -> None:
        if device in self._devices:
            self._devices.remove(device)
            device.close()
            self._missing[device.gpu, device.uuid] = why
        if why.reason != "gpu_lost":
            # The driver itself has gone: no reason to wait before the next try.
            self._looked_at = float("-inf")

    def _xid_counts(self) -> Iterator[Sample]:
        if self._no_events is not None:
            for device in self._devices:
                yield self._sample(catalog.GPU_XID_ERRORS, (device.gpu, device.uuid), ("",), self._no_events)
        self._drain()
        for labels, count in self._xids.items():
            yield Sample(metric=catalog.GPU_XID_ERRORS, labels=labels, value=float(count), time=self._time)

    def _drain(self) -> None:
        nvml, events = self._nvml, self._events
        for _ in range(MOST_EVENTS if events is not None else 0):
            found = ask(nvml, lambda: nvml.nvmlEventSetWait_v2(events, 0), usual=NO_EVENT)
            if isinstance(found, Unavailable):
                if found is not NO_EVENT:
                    self._no_events, self._events = found, None
                return
            uuid = ask(nvml, partial(nvml.nvmlDeviceGetUUID, found.device))
            text = uuid.decode() if isinstance(uuid, bytes) else str(uuid)
            gpu = next((device.gpu for device in self._devices if device.uuid == text), "")
            key = (self._surroundings.host, gpu, text if gpu else "", str(int(found.eventData)))
            self._xids[key] = self._xids.get(key, 0) + 1

    def _sample(
        self, metric: Any, gpu: tuple[str, str], more: tuple[str, ...], value: float | Unavailable
    ) -> Sample:
        labels = (self._surroundings.host, *gpu, *more)
        return Sample(metric=metric, labels=labels, value=value, time=self._time)

    def close(self) -> None:
        """Give everything back; the next collection begins anew."""
        nvml = self._nvml
        for device in self._devices:
            device.close()
        self._devices.clear()
        self._missing.clear()
        if self._events is not None:
            ask(nvml, lambda: nvml.nvmlEventSetFree(self._events))
            self._events = None
        if self._open:
            ask(nvml, nvml.nvmlShutdown)
            self._open = False


def _make(settings: CollectorSettings, surroundings: Surroundings) -> NvmlCollector:
    return NvmlCollector(surroundings, interval_seconds=settings.interval_seconds)


TYPE = CollectorType(
    name="nvml",
    help="NVIDIA GPUs: SM utilization, tensor and memory activity, power, clocks, links, errors",
    settings=CollectorSettings,
    make=_make,
    # Each call of NVML lets go of the interpreter: two threads that take turns at it cost several times what
    # they do one after the other.
    shares_thread=True,
)
