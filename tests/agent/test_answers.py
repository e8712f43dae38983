"""What ``/api/v1/gpus`` makes of readings of several collectors."""

from flyball.agent.daemon.answers import gpu_answers
from flyball.agent.daemon.readings import take
from flyball.agent.daemon.store import Store
from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample, Unavailable

GPU = ("here", "0", "GPU-a")


def sample(metric: Metric, value: float | Unavailable, *more: str) -> Sample:
    return Sample(metric=metric, labels=(*GPU, *more), value=value, time=0.0)


def store(*readings: list[Sample]) -> Store:
    made = Store()
    for number, samples in enumerate(readings):
        made.put(str(number), take(samples, max_series=100, elapsed=lambda: 0.0))
    return made


def test_what_one_collector_knows_is_not_missing_because_another_does_not() -> None:
    why = Unavailable(reason="gpm_not_supported")
    nvml = [
        sample(catalog.GPU_PCIE_SENT, why),
        sample(catalog.GPU_SM_UTILIZATION, why, "gpm"),
        sample(catalog.GPU_POWER, 300.0),
    ]
    dcgm = [sample(catalog.GPU_PCIE_SENT, 7.0), sample(catalog.GPU_SM_UTILIZATION, 0.5, "dcgm")]
    (gpu,) = gpu_answers(store(nvml, dcgm))
    found = {(each.metric, each.labels.get("source")): each.value or each.reason for each in gpu.metrics}
    assert found == {
        ("gpu_power_watts", None): 300.0,
        ("gpu_pcie_tx_bytes_per_second", None): 7.0,
        ("gpu_sm_utilization_ratio", "dcgm"): 0.5,
        ("gpu_sm_utilization_ratio", "gpm"): "gpm_not_supported",
    }
    assert len(gpu.metrics) == len(found)


def test_of_two_that_know_the_first_counts() -> None:
    (gpu,) = gpu_answers(store([sample(catalog.GPU_POWER, 1.0)], [sample(catalog.GPU_POWER, 2.0)]))
    assert [each.value for each in gpu.metrics] == [1.0]
