"""The NVML collector on a real GPU: SM utilization tells apart what the driver's own figure cannot."""

from pathlib import Path

import pytest
import torch

from flyball.clock import SystemClock
from flyball.collectors.base import Sample, Unavailable
from flyball.collectors.nvml import NvmlCollector
from flyball.collectors.registry import Surroundings
from flyball.collectors.runs import Runs

pytestmark = pytest.mark.gpu

SECONDS = 1.0
GPU_ROW = {
    *("gpu_sm_utilization_ratio", "gpu_sm_occupancy_ratio", "gpu_tensor_active_ratio"),
    *("gpu_dram_bandwidth_ratio", "gpu_busy_ratio", "gpu_memory_used_bytes", "gpu_memory_total_bytes"),
    *("gpu_power_watts", "gpu_energy_joules_total", "gpu_temperature_celsius", "gpu_sm_clock_hertz"),
    *(
        "gpu_throttled",
        "gpu_pcie_rx_bytes_per_second",
        "gpu_pcie_tx_bytes_per_second",
        "gpu_ecc_errors_total",
        "gpu_row_remapping",
    ),
}
"""What every Hopper card has; NVLink and XID errors have a reason or no event yet."""


@pytest.fixture
def collector(tmp_path: Path) -> NvmlCollector:
    clock = SystemClock()
    around = Surroundings(host="here", clock=clock, runs=Runs([tmp_path], clock=clock, host="here"))
    return NvmlCollector(around, interval_seconds=1.0)


def busy_for(seconds: float, work: object) -> None:
    clock = SystemClock()
    end = clock.monotonic() + seconds
    while clock.monotonic() < end:
        for _ in range(20):
            work()  # type: ignore[operator]
        torch.cuda.synchronize()


def ratio(samples: list[Sample], name: str) -> float:
    (found,) = [each.value for each in samples if each.metric.name == name and each.label("gpu") == "0"]
    assert isinstance(found, float), found
    return found


def test_products_keep_the_sms_busy_and_tiny_kernels_do_not(collector: NvmlCollector) -> None:
    one, other = (torch.randn((8192, 8192), device="cuda", dtype=torch.bfloat16) for _ in range(2))
    busy_for(SECONDS, lambda: one @ other)
    list(collector.collect())
    busy_for(SECONDS, lambda: one @ other)
    products = list(collector.collect())
    assert ratio(products, "gpu_sm_utilization_ratio") > 0.9
    assert ratio(products, "gpu_tensor_active_ratio") > 0.5
    single = torch.zeros(1, device="cuda")
    busy_for(SECONDS, lambda: single.add_(1))
    list(collector.collect())
    busy_for(SECONDS, lambda: single.add_(1))
    tiny = list(collector.collect())
    assert ratio(tiny, "gpu_sm_utilization_ratio") < 0.01
    assert ratio(tiny, "gpu_busy_ratio") > 0.15
    collector.close()


def test_every_metric_is_there_or_has_a_reason(collector: NvmlCollector) -> None:
    list(collector.collect())
    busy_for(0.3, lambda: torch.zeros(1, device="cuda"))
    found: dict[str, object] = {}
    for sample in collector.collect():
        found.setdefault(sample.metric.name, sample.value)
    missing = {name: found.get(name) for name in GPU_ROW if not isinstance(found.get(name), float)}
    assert not missing
    assert all(isinstance(each, float | Unavailable) for each in found.values())
    collector.close()
