import pytest
from tests.collectors.journal_fakes import FakeClock
from tests.collectors.nvml_fake import FakeGpu, FakeNvml

from flyball.collectors.base import CollectorFailed, Sample, Unavailable
from flyball.collectors.nvml import NvmlCollector
from flyball.collectors.nvml_xids import AWAITED
from flyball.collectors.registry import Surroundings
from flyball.collectors.runs import Runs


class Bench:
    def __init__(self, *gpus: FakeGpu) -> None:
        self.clock = FakeClock()
        self.nvml = FakeNvml(*gpus)
        runs = Runs([], clock=self.clock, host="here")
        around = Surroundings(host="here", clock=self.clock, runs=runs)
        self.collector = NvmlCollector(around, interval_seconds=1.0, nvml=self.nvml)

    def collect(self, seconds: float = 1.0) -> dict[tuple[str, ...], Sample]:
        self.clock.advance(seconds)
        return {(each.metric.name, *each.labels[1:]): each for each in self.collector.collect()}


def value(samples: dict[tuple[str, ...], Sample], *key: str) -> float | Unavailable:
    found = samples[key].value
    assert isinstance(found, float | Unavailable)
    return found


def reason(samples: dict[tuple[str, ...], Sample], *key: str) -> str:
    found = value(samples, *key)
    assert isinstance(found, Unavailable), found
    return found.reason


def test_every_metric_of_a_gpu_in_base_units() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    first = bench.collect()
    assert not any(key[0] == "gpu_sm_utilization_ratio" for key in first), "rates need two samples"
    found = bench.collect()
    gpu = ("0", "GPU-a")
    assert {
        "sm": value(found, "gpu_sm_utilization_ratio", *gpu, "gpm"),
        "occupancy": value(found, "gpu_sm_occupancy_ratio", *gpu, "gpm"),
        "tensor": value(found, "gpu_tensor_active_ratio", *gpu, "gpm"),
        "dram": value(found, "gpu_dram_bandwidth_ratio", *gpu, "gpm"),
        "busy": value(found, "gpu_busy_ratio", *gpu, "nvml"),
        "used": value(found, "gpu_memory_used_bytes", *gpu),
        "total": value(found, "gpu_memory_total_bytes", *gpu),
        "power": value(found, "gpu_power_watts", *gpu),
        "energy": value(found, "gpu_energy_joules_total", *gpu),
        "temperature": value(found, "gpu_temperature_celsius", *gpu),
        "clock": value(found, "gpu_sm_clock_hertz", *gpu),
        "sent": value(found, "gpu_pcie_tx_bytes_per_second", *gpu),
        "received": value(found, "gpu_pcie_rx_bytes_per_second", *gpu),
    } == {
        "sm": 0.9,
        "occupancy": 0.4,
        "tensor": 0.8,
        "dram": 0.3,
        "busy": 1.0,
        "used": 8 << 30,
        "total": 80 << 30,
        "power": 350.0,
        "energy": 1000.0,
        "temperature": 60.0,
        "clock": 1.98e9,
        "sent": 100 << 20,
        "received": 200 << 20,
    }
    assert found["gpu_power_watts", *gpu].labels[0] == "here"
    assert found["gpu_power_watts", *gpu].time == bench.clock.time()


def test_slow_calls_are_rare_or_not_made_at_all() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    for _ in range(120):
        bench.collect()
    assert bench.nvml.calls.count("nvmlDeviceGetTotalEnergyConsumption") == 2
    assert not any("PcieThroughput" in call for call in bench.nvml.calls)


def test_samples_too_close_to_one_another_are_not_compared() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    bench.collect()
    assert not any(key[0] == "gpu_sm_utilization_ratio" for key in bench.collect(0.05))
    assert value(bench.collect(0.06), "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == 0.9


def test_throttling_names_its_reason_and_idling_is_none() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a", clock_reasons=0x1 | 0x4))
    found = bench.collect()
    on = {key[-1] for key, each in found.items() if key[0] == "gpu_throttled" and each.value == 1.0}
    assert on == {"sw_power_cap"}
    assert value(found, "gpu_throttled", "0", "GPU-a", "hw_thermal_slowdown") == 0.0


def test_xid_and_ecc_errors_are_counted() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a", ecc={0: 3, 1: 1}), FakeGpu(uuid="GPU-b"))
    bench.nvml.events = [(bench.nvml.gpus[1], 79), (bench.nvml.gpus[1], 79), (bench.nvml.gpus[0], 48)]
    found = bench.collect()
    assert value(found, "gpu_xid_errors_total", "1", "GPU-b", "79") == 2.0
    assert value(found, "gpu_xid_errors_total", "0", "GPU-a", "48") == 1.0
    assert value(found, "gpu_ecc_errors_total", "0", "GPU-a", "corrected") == 3.0
    assert value(found, "gpu_ecc_errors_total", "0", "GPU-a", "uncorrected") == 1.0
    bench.nvml.events = [(bench.nvml.gpus[1], 79)]
    assert value(bench.collect(), "gpu_xid_errors_total", "1", "GPU-b", "79") == 3.0


def test_codes_that_policies_wait_for_are_counted_from_zero() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    found = bench.collect()
    assert {value(found, "gpu_xid_errors_total", "0", "GPU-a", xid) for xid in AWAITED} == {0.0}
    bench.nvml.events = [(bench.nvml.gpus[0], 79), (bench.nvml.gpus[0], 4242)]
    found = bench.collect()
    assert value(found, "gpu_xid_errors_total", "0", "GPU-a", "79") == 1.0
    assert value(found, "gpu_xid_errors_total", "0", "GPU-a", "4242") == 1.0


def test_without_events_no_code_is_called_zero() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    bench.nvml.faults["nvmlDeviceRegisterEvents"] = 4
    found = bench.collect()
    assert [key for key in found if key[0] == "gpu_xid_errors_total"] == [
        ("gpu_xid_errors_total", "0", "GPU-a", "")
    ]


def test_row_remapping_tells_what_waits_and_what_failed_and_is_asked_once_a_minute() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a", remapped_rows=(5, 2, 1, 0)))
    bench.collect()
    for _ in range(59):
        found = bench.collect()
    states = {
        state: value(found, "gpu_row_remapping", "0", "GPU-a", state)
        for state in ("pending", "failed", "uncorrectable")
    }
    assert states == {"pending": 1.0, "failed": 0.0, "uncorrectable": 2.0}
    assert bench.nvml.calls.count("nvmlDeviceGetRemappedRows") == 1
    bench.nvml.gpus[0].remapped_rows = (5, 3, 0, 1)
    found = bench.collect()
    assert value(found, "gpu_row_remapping", "0", "GPU-a", "failed") == 1.0
    assert value(found, "gpu_row_remapping", "0", "GPU-a", "uncorrectable") == 3.0


@pytest.mark.parametrize(("code", "expected"), [(3, "not_supported"), (4, "no_permission")])
def test_a_card_that_remaps_no_rows_says_why(code: int, expected: str) -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    bench.nvml.faults["nvmlDeviceGetRemappedRows"] = code
    found = bench.collect()
    for state in ("pending", "failed", "uncorrectable"):
        assert reason(found, "gpu_row_remapping", "0", "GPU-a", state) == expected


def test_what_a_card_lacks_has_a_reason_and_no_value() -> None:
    gpu = FakeGpu(
        uuid="GPU-a", gpm_returns={60: 3, 61: 3}, gpm=dict.fromkeys((2, 3, 5, 10, 20, 21, 60, 61), 1.0)
    )
    gpu.gpm[10] = float("nan")
    bench = Bench(gpu)
    bench.nvml.faults["nvmlDeviceGetTotalEccErrors"] = 3
    bench.nvml.faults["nvmlEventSetCreate"] = 4
    bench.collect()
    found = bench.collect()
    assert reason(found, "gpu_nvlink_rx_bytes_per_second", "0", "GPU-a") == "not_supported"
    assert reason(found, "gpu_dram_bandwidth_ratio", "0", "GPU-a", "gpm") == "no_data"
    assert reason(found, "gpu_ecc_errors_total", "0", "GPU-a", "corrected") == "not_supported"
    assert reason(found, "gpu_xid_errors_total", "0", "GPU-a", "") == "no_permission"
    assert value(found, "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == 0.01


def test_a_card_before_hopper_has_no_sm_utilization_and_says_why() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a", gpm_supported=False))
    found = bench.collect()
    assert reason(found, "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == "gpm_not_supported"
    assert value(found, "gpu_busy_ratio", "0", "GPU-a", "nvml") == 1.0


def test_gpm_rights_that_are_lost_and_given_back() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    bench.collect()
    bench.nvml.faults["nvmlGpmSampleGet"] = 4
    assert reason(bench.collect(), "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == "no_permission"
    bench.nvml.faults.clear()
    bench.collect()
    assert value(bench.collect(), "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == 0.9
    assert bench.nvml.samples == 2


def test_mig_instances_have_their_own_utilization_and_memory() -> None:
    parts = {
        0: FakeGpu(uuid="MIG-x", used=1 << 30, total=10 << 30, instance_id=7),
        2: FakeGpu(uuid="MIG-y", used=2 << 30, total=10 << 30, instance_id=9),
    }
    parts[2].gpm[2] = 10.0
    bench = Bench(FakeGpu(uuid="GPU-a", instances=parts))
    bench.collect()
    found = bench.collect()
    assert value(found, "gpu_sm_utilization_ratio", "0/0", "MIG-x", "gpm") == 0.9
    assert value(found, "gpu_sm_utilization_ratio", "0/2", "MIG-y", "gpm") == 0.1
    assert value(found, "gpu_memory_used_bytes", "0/2", "MIG-y") == 2 << 30
    assert ("gpu_power_watts", "0/2", "MIG-y") not in found


def test_one_lost_gpu_takes_no_other_down_and_comes_back() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b"))
    bench.collect()
    bench.nvml.lost.add("GPU-b")
    for _ in range(3):
        found = bench.collect()
        assert reason(found, "gpu_sm_utilization_ratio", "1", "GPU-b", "gpm") == "gpu_lost"
        assert value(found, "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == 0.9
    bench.nvml.lost.clear()
    bench.collect(60.0)
    assert value(bench.collect(), "gpu_sm_utilization_ratio", "1", "GPU-b", "gpm") == 0.9


def test_a_lost_gpu_is_named_under_the_same_labels_until_it_is_back() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b"))
    bench.collect()
    bench.nvml.lost.add("GPU-b")
    for seconds in (1.0, 1.0, 60.0, 1.0):
        found = bench.collect(seconds)
        lost = {key[1:]: each.value for key, each in found.items() if key[0] == "gpu_lost"}
        assert lost == {("0", "GPU-a"): 0.0, ("1", "GPU-b"): 1.0}, seconds
    bench.nvml.lost.clear()
    assert value(bench.collect(60.0), "gpu_lost", "1", "GPU-b") == 0.0


def test_a_gpu_that_was_lost_before_the_start_is_told_without_its_name() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b"))
    bench.nvml.lost.add("GPU-b")
    assert value(bench.collect(), "gpu_lost", "1", "") == 1.0


def test_a_driver_that_is_reloaded_has_lost_no_gpu() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a", instances={0: FakeGpu(uuid="MIG-x", instance_id=7)}))
    bench.collect()
    bench.nvml.initialized = 0
    for _ in range(3):
        found = bench.collect()
        assert {each.value for key, each in found.items() if key[0] == "gpu_lost"} <= {0.0}
    assert [key for key in found if key[0] == "gpu_lost"] == [("gpu_lost", "0", "GPU-a")]


def test_a_driver_reload_is_gone_through() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    bench.collect()
    bench.nvml.initialized = 0
    assert reason(bench.collect(), "gpu_busy_ratio", "0", "GPU-a", "nvml") == "driver_restarted"
    bench.collect()
    assert value(bench.collect(), "gpu_sm_utilization_ratio", "0", "GPU-a", "gpm") == 0.9


@pytest.mark.parametrize(
    ("code", "expected"), [(9, "driver_not_loaded"), (12, "library_not_found"), (4, "no_permission")]
)
def test_without_a_driver_it_fails_with_the_reason_until_there_is_one(code: int, expected: str) -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"))
    bench.nvml.faults["nvmlInit"] = code
    with pytest.raises(CollectorFailed) as failed:
        bench.collect()
    assert failed.value.reason == expected
    bench.nvml.faults.clear()
    assert bench.collect()


def test_everything_is_given_back() -> None:
    bench = Bench(FakeGpu(uuid="GPU-a"), FakeGpu(uuid="GPU-b"))
    bench.collect()
    bench.collect()
    bench.collector.close()
    bench.collector.close()
    assert (bench.nvml.initialized, bench.nvml.samples, bench.nvml.event_sets) == (0, 0, 0)
    assert bench.collect()
