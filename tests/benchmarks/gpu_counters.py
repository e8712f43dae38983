"""What the NVML collector reads of this machine's GPU under known loads, and what a collection costs.

    python tests/benchmarks gpu_counters

Prints every metric of the GPU, or why it is missing; SM utilization, tensor activity and the driver's own
figure under back-to-back 8192^3 products and under one-element kernels; and the median cost of a collection.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from flyball.clock import SystemClock
from flyball.collectors.base import Sample, Unavailable
from flyball.collectors.nvml import NvmlCollector
from flyball.collectors.registry import Surroundings
from flyball.collectors.runs import Runs

COLLECTIONS = 30


def main() -> None:
    """Print all of it."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        clock = SystemClock()
        around = Surroundings(host="here", clock=clock, runs=Runs([Path(folder)], clock=clock, host="here"))
        collector = NvmlCollector(around, interval_seconds=1.0)
        one, other = (torch.randn((8192, 8192), device="cuda", dtype=torch.bfloat16) for _ in range(2))
        single = torch.zeros(1, device="cuda")
        loads: dict[str, Callable[[], object]] = {
            "8192^3 bf16 products": lambda: one @ other,
            "one-element kernels": lambda: single.add_(1),
        }
        for name, work in loads.items():
            print(f"{name}: {under(collector, work)}")
        inventory(list(collector.collect()))
        print(f"a collection: {cost(collector):.2f} ms (median of {COLLECTIONS})")
        collector.close()


def under(collector: NvmlCollector, work: Callable[[], object], seconds: float = 1.0) -> str:
    """The utilizations of the first GPU while ``work`` is repeated."""
    for _ in range(2):
        _repeat(work, seconds)
        samples = list(collector.collect())
    names = ("gpu_sm_utilization_ratio", "gpu_tensor_active_ratio", "gpu_busy_ratio")
    return ", ".join(
        f"{each.metric.name} {each.value}"
        for each in samples
        if each.metric.name in names and each.label("gpu") == "0"
    )


def _repeat(work: Callable[[], object], seconds: float) -> None:
    import torch

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for _ in range(20):
            work()
        torch.cuda.synchronize()


def inventory(samples: list[Sample]) -> None:
    """Print each metric once, with its value or its reason."""
    for sample in samples:
        shown = (
            f"unavailable: {sample.value.reason} ({sample.value.detail})"
            if isinstance(sample.value, Unavailable)
            else f"{sample.value}"
        )
        print(f"  {sample.metric.name}{list(sample.labels[1:])} {shown}")


def cost(collector: NvmlCollector) -> float:
    """Median milliseconds of a collection."""
    taken = []
    for _ in range(COLLECTIONS):
        time.sleep(0.12)
        begun = time.perf_counter()
        list(collector.collect())
        taken.append((time.perf_counter() - begun) * 1e3)
    return statistics.median(taken)


if __name__ == "__main__":
    main()
