"""Stands in for the ``pynvml`` module: GPUs with set readings, faults on demand."""

# ruff: noqa: N802 - the names are NVML's

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml

GPM_DEFAULTS = {2: 90.0, 3: 40.0, 5: 80.0, 10: 30.0, 20: 100.0, 21: 200.0, 60: 0.0, 61: 0.0}


@dataclass
class FakeGpu:
    uuid: str
    total: int = 80 << 30
    used: int = 8 << 30
    busy: int = 100
    milliwatts: int = 350_000
    millijoules: int = 1_000_000
    celsius: int = 60
    megahertz: int = 1980
    clock_reasons: int = 0x1
    ecc: dict[int, int] = field(default_factory=lambda: {0: 0, 1: 0})
    remapped_rows: tuple[int, int, int, int] = (0, 0, 0, 0)
    """For correctable and for uncorrectable errors; whether one is pending; whether one failed."""
    gpm: dict[int, float] = field(default_factory=lambda: dict(GPM_DEFAULTS))
    gpm_returns: dict[int, int] = field(default_factory=dict)
    gpm_supported: bool = True
    instances: dict[int, "FakeGpu"] = field(default_factory=dict)
    instance_id: int = 0


class FakeNvml:
    """One driver with some GPUs."""

    NVMLError = pynvml.NVMLError
    NVML_GPM_METRICS_GET_VERSION = 1
    NVML_TEMPERATURE_GPU = 0
    NVML_CLOCK_SM = 1
    NVML_VOLATILE_ECC = 0
    nvmlEventTypeXidCriticalError = 8  # noqa: N815

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = list(gpus)
        self.initialized = 0
        self.samples = 0
        self.faults: dict[str, int] = {}
        """Function to the nvmlReturn_t that it fails with."""
        self.lost: set[str] = set()
        self.events: list[tuple[FakeGpu, int]] = []
        self.event_sets = 0
        self.calls: list[str] = []

    def _call(self, name: str, gpu: FakeGpu | None = None) -> None:
        self.calls.append(name)
        if name in self.faults:
            raise pynvml.NVMLError(self.faults[name])
        if not self.initialized and name != "nvmlInit":
            raise pynvml.NVMLError(pynvml.NVML_ERROR_UNINITIALIZED)
        if gpu is not None and gpu.uuid in self.lost:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_GPU_IS_LOST)

    def nvmlInit(self) -> None:
        self._call("nvmlInit")
        self.initialized += 1

    def nvmlShutdown(self) -> None:
        self._call("nvmlShutdown")
        self.initialized -= 1

    def nvmlDeviceGetCount(self) -> int:
        self._call("nvmlDeviceGetCount")
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        self._call("nvmlDeviceGetHandleByIndex", self.gpus[index])
        return self.gpus[index]

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        self._call("nvmlDeviceGetUUID", gpu)
        return gpu.uuid

    def nvmlDeviceGetMemoryInfo(self, gpu: FakeGpu) -> Any:
        self._call("nvmlDeviceGetMemoryInfo", gpu)
        return SimpleNamespace(used=gpu.used, total=gpu.total)

    def nvmlDeviceGetUtilizationRates(self, gpu: FakeGpu) -> Any:
        self._call("nvmlDeviceGetUtilizationRates", gpu)
        return SimpleNamespace(gpu=gpu.busy)

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        self._call("nvmlDeviceGetPowerUsage", gpu)
        return gpu.milliwatts

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        self._call("nvmlDeviceGetTotalEnergyConsumption", gpu)
        return gpu.millijoules

    def nvmlDeviceGetTemperature(self, gpu: FakeGpu, _: int) -> int:
        self._call("nvmlDeviceGetTemperature", gpu)
        return gpu.celsius

    def nvmlDeviceGetClockInfo(self, gpu: FakeGpu, _: int) -> int:
        self._call("nvmlDeviceGetClockInfo", gpu)
        return gpu.megahertz

    def nvmlDeviceGetCurrentClocksEventReasons(self, gpu: FakeGpu) -> int:
        self._call("nvmlDeviceGetCurrentClocksEventReasons", gpu)
        return gpu.clock_reasons

    def nvmlDeviceGetTotalEccErrors(self, gpu: FakeGpu, kind: int, _: int) -> int:
        self._call("nvmlDeviceGetTotalEccErrors", gpu)
        return gpu.ecc[kind]

    def nvmlDeviceGetRemappedRows(self, gpu: FakeGpu) -> tuple[int, int, int, int]:
        self._call("nvmlDeviceGetRemappedRows", gpu)
        return gpu.remapped_rows

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        self._call("nvmlDeviceGetComputeRunningProcesses", gpu)
        return []

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        self._call("nvmlDeviceGetName", gpu)
        return "NVIDIA Fake"

    def nvmlSystemGetDriverVersion(self) -> str:
        self._call("nvmlSystemGetDriverVersion")
        return "580.1"

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        self._call("nvmlDeviceGetMigMode", gpu)
        return [int(bool(gpu.instances)), 0]

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: FakeGpu) -> int:
        self._call("nvmlDeviceGetMaxMigDeviceCount", gpu)
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: FakeGpu, index: int) -> FakeGpu:
        self._call("nvmlDeviceGetMigDeviceHandleByIndex", gpu)
        if index not in gpu.instances:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return gpu.instances[index]

    def nvmlDeviceGetGpuInstanceId(self, gpu: FakeGpu) -> int:
        self._call("nvmlDeviceGetGpuInstanceId", gpu)
        return gpu.instance_id

    def nvmlGpmQueryDeviceSupport(self, gpu: FakeGpu) -> Any:
        self._call("nvmlGpmQueryDeviceSupport", gpu)
        return SimpleNamespace(isSupportedDevice=int(gpu.gpm_supported))

    def nvmlGpmSampleAlloc(self) -> Any:
        self._call("nvmlGpmSampleAlloc")
        self.samples += 1
        return SimpleNamespace(of=None)

    def nvmlGpmSampleFree(self, _: Any) -> None:
        self._call("nvmlGpmSampleFree")
        self.samples -= 1

    def nvmlGpmSampleGet(self, gpu: FakeGpu, sample: Any) -> Any:
        self._call("nvmlGpmSampleGet", gpu)
        sample.of = gpu
        return sample

    def nvmlGpmMigSampleGet(self, gpu: FakeGpu, instance_id: int, sample: Any) -> Any:
        self._call("nvmlGpmMigSampleGet", gpu)
        sample.of = next(own for own in gpu.instances.values() if own.instance_id == instance_id)
        return sample

    def c_nvmlGpmMetricsGet_t(self) -> Any:
        metrics = [SimpleNamespace(metricId=0, nvmlReturn=0, value=0.0) for _ in range(16)]
        return SimpleNamespace(version=0, numMetrics=0, sample1=None, sample2=None, metrics=metrics)

    def nvmlGpmMetricsGet(self, wanted: Any) -> Any:
        self._call("nvmlGpmMetricsGet")
        gpu = wanted.sample2.of
        assert wanted.sample1.of is gpu, "two samples of one GPU"
        for metric in wanted.metrics[: wanted.numMetrics]:
            metric.value = gpu.gpm[metric.metricId]
            metric.nvmlReturn = gpu.gpm_returns.get(metric.metricId, 0)
        return wanted

    def nvmlEventSetCreate(self) -> object:
        self._call("nvmlEventSetCreate")
        self.event_sets += 1
        return object()

    def nvmlEventSetFree(self, _: object) -> None:
        self._call("nvmlEventSetFree")
        self.event_sets -= 1

    def nvmlDeviceRegisterEvents(self, gpu: FakeGpu, _: int, __: object) -> None:
        self._call("nvmlDeviceRegisterEvents", gpu)

    def nvmlEventSetWait_v2(self, _: object, milliseconds: int) -> Any:
        self._call("nvmlEventSetWait_v2")
        assert milliseconds == 0, "a collection waits for nothing"
        if not self.events:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
        gpu, xid = self.events.pop(0)
        return SimpleNamespace(device=gpu, eventData=xid)


def install(count: int) -> Callable[[], None]:
    """Put a fake with so many GPUs in place of ``pynvml``, for modules imported later; return the undoing."""
    before = sys.modules["pynvml"]
    fake: Any = FakeNvml(*(FakeGpu(uuid=f"GPU-{index}") for index in range(count)))
    sys.modules["pynvml"] = fake

    def undo() -> None:
        sys.modules["pynvml"] = before

    return undo
