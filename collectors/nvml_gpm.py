"""GPU performance monitoring of NVML (GPM, Hopper and later): what the SMs really did.

Two samples are held, and the metrics are those of the time between them: nothing waits. The calls and metric
ids are those of https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmFunctions.html.
"""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from flyball.collectors.base import Metric, Unavailable
from flyball.collectors.catalog import (
    GPU_DRAM_BANDWIDTH,
    GPU_NVLINK_RECEIVED,
    GPU_NVLINK_SENT,
    GPU_PCIE_RECEIVED,
    GPU_PCIE_SENT,
    GPU_SM_OCCUPANCY,
    GPU_SM_UTILIZATION,
    GPU_TENSOR_ACTIVE,
)
from flyball.collectors.nvml_faults import ask, reason_of

LEAST_SECONDS = 0.1
"""Two samples closer than this say nothing."""

_PERCENT, _MEBIBYTE = 0.01, float(1 << 20)
METRICS: Final[Mapping[Metric, tuple[int, float]]] = {
    GPU_SM_UTILIZATION: (2, _PERCENT),
    GPU_SM_OCCUPANCY: (3, _PERCENT),
    GPU_TENSOR_ACTIVE: (5, _PERCENT),
    GPU_DRAM_BANDWIDTH: (10, _PERCENT),
    GPU_PCIE_SENT: (20, _MEBIBYTE),
    GPU_PCIE_RECEIVED: (21, _MEBIBYTE),
    GPU_NVLINK_RECEIVED: (60, _MEBIBYTE),
    GPU_NVLINK_SENT: (61, _MEBIBYTE),
}
"""Metric to its id in ``nvmlGpmMetricId_t`` and the factor that makes a base unit of its value."""

Reading = Mapping[Metric, float | Unavailable]


class Gpm:
    """The counters of one GPU, or of one MIG instance of it.

    Args:
        nvml: the ``pynvml`` module, or what stands in for it.
        device: handle of the GPU; of the parent for a MIG instance.
        instance: GPU instance id of a MIG instance; None for the whole GPU.
    """

    def __init__(self, nvml: Any, device: Any, *, instance: int | None = None) -> None:
        self._nvml, self._device, self._instance = nvml, device, instance
        self._samples: list[Any] = []
        self._sampled_at: float | None = None
        self._wanted: Any = None
        self._answers: list[tuple[Metric, float, Any]] = []
        """Metric, factor and where in ``_wanted`` its value comes to stand."""

    def read(self, now: float) -> Reading:
        """What happened since the last reading; nothing at the first, or within ``LEAST_SECONDS`` of it.

        Args:
            now: monotonic clock, in seconds.
        """
        if self._sampled_at is not None and now - self._sampled_at < LEAST_SECONDS:
            return {}
        found = ask(self._nvml, self._sample)
        if isinstance(found, Unavailable):
            self.close()
            return dict.fromkeys(METRICS, found)
        before, self._sampled_at = self._sampled_at, now
        if before is None:
            return {}
        values = ask(self._nvml, self._metrics)
        return dict.fromkeys(METRICS, values) if isinstance(values, Unavailable) else values

    def _sample(self) -> Unavailable | None:
        nvml = self._nvml
        if not self._samples:
            if not nvml.nvmlGpmQueryDeviceSupport(self._device).isSupportedDevice:
                return Unavailable(reason="gpm_not_supported", detail="GPM needs a Hopper GPU or a later one")
            self._samples.append(nvml.nvmlGpmSampleAlloc())
            self._samples.append(nvml.nvmlGpmSampleAlloc())
        # The older of the two is written over.
        self._samples.reverse()
        if self._instance is None:
            nvml.nvmlGpmSampleGet(self._device, self._samples[1])
        else:
            nvml.nvmlGpmMigSampleGet(self._device, self._instance, self._samples[1])
        return None

    def _metrics(self) -> Reading:
        if self._wanted is None:
            self._wanted = self._request()
            # Each of these is an object that ctypes makes anew whenever it is asked for.
            places, wanted = self._wanted.metrics, METRICS.items()
            self._answers = [(metric, factor, places[n]) for n, (metric, (_, factor)) in enumerate(wanted)]
        self._wanted.sample1, self._wanted.sample2 = self._samples
        self._nvml.nvmlGpmMetricsGet(self._wanted)
        return {metric: _value(answer, factor) for metric, factor, answer in self._answers}

    def _request(self) -> Any:
        # 16 KiB, kept for the next reading.
        wanted = self._nvml.c_nvmlGpmMetricsGet_t()
        wanted.version = self._nvml.NVML_GPM_METRICS_GET_VERSION
        wanted.numMetrics = len(METRICS)
        for place, (number, _) in enumerate(METRICS.values()):
            wanted.metrics[place].metricId = number
        return wanted

    def close(self) -> None:
        """Give the samples back; the next reading begins anew."""
        for sample in self._samples:
            ask(self._nvml, partial(self._nvml.nvmlGpmSampleFree, sample))
        self._samples.clear()
        self._sampled_at = None


def _value(found: Any, factor: float) -> float | Unavailable:
    if found.nvmlReturn:
        return Unavailable(reason=reason_of(int(found.nvmlReturn)), detail=f"GPM metric {found.metricId}")
    value = float(found.value)
    if math.isnan(value):
        return Unavailable(reason="no_data", detail=f"GPM metric {found.metricId} is not a number")
    return max(0.0, min(1.0, value * factor)) if factor == _PERCENT else max(0.0, value * factor)
