"""What the GPUs did within given stretches of time, from readings taken beside a run."""

from collections.abc import Iterable
from itertools import pairwise

import pytest

from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Metric, Sample, Unavailable
from flyball.collectors.gpu_recorder import MOST_PLAYED, MOST_READINGS, GpuRecorder
from flyball.collectors.nvml_inventory import GpuProcess

LABELS = {
    catalog.GPU_SM_UTILIZATION: ("gpm",),
    catalog.GPU_POWER: (),
    catalog.GPU_ENERGY: (),
}


class Gpus:
    """A collector that gives what the test has laid ready."""

    name, interval_seconds = "nvml", 1.0

    def __init__(self) -> None:
        self.ready: list[Sample] = []
        self.fault: Exception | None = None
        self.closed = False

    def lay(self, time: float, metric: Metric, value: float | Unavailable, uuid: str = "GPU-a") -> None:
        labels = ("host", "0", uuid, *LABELS[metric])
        self.ready.append(Sample(metric=metric, labels=labels, value=value, time=time))

    def collect(self) -> Iterable[Sample]:
        if self.fault is not None:
            raise self.fault
        ready, self.ready = self.ready, []
        return ready

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def gpus() -> Gpus:
    return Gpus()


@pytest.fixture
def recorder(gpus: Gpus) -> GpuRecorder:
    return GpuRecorder(lambda: gpus)


def test_only_readings_within_the_spans_count(gpus: Gpus, recorder: GpuRecorder) -> None:
    for time, value in ((0.0, 0.0), (1.0, 0.5), (2.0, 0.7), (3.0, 0.0), (5.0, 0.9)):
        gpus.lay(time, catalog.GPU_SM_UTILIZATION, value)
    assert recorder.take()
    found = recorder.summary([(0.5, 2.5), (4.0, 6.0)], ["GPU-a"], samples=None)
    assert found["sm_utilization"]["mean"] == pytest.approx(0.7)


def test_other_gpus_do_not_count_and_a_uuid_may_lack_its_prefix(gpus: Gpus, recorder: GpuRecorder) -> None:
    gpus.lay(1.0, catalog.GPU_SM_UTILIZATION, 0.2, uuid="GPU-A1")
    gpus.lay(1.0, catalog.GPU_SM_UTILIZATION, 0.9, uuid="GPU-B2")
    recorder.take()
    assert recorder.summary([(0.0, 2.0)], ["a1"], samples=None)["sm_utilization"]["mean"] == 0.2


def test_energy_is_read_off_the_counter_at_the_ends_of_each_span(gpus: Gpus, recorder: GpuRecorder) -> None:
    for time, joules in ((0.0, 1000.0), (2.0, 1400.0), (4.0, 1800.0), (6.0, 2000.0)):
        gpus.lay(time, catalog.GPU_ENERGY, joules)
    recorder.take()
    found = recorder.summary([(1.0, 3.0), (5.0, 6.0)], ["GPU-a"], samples=50)
    assert found["energy_joules_per_sample"] == pytest.approx((400 + 100) / 50)


def test_a_span_beyond_the_readings_has_no_energy(gpus: Gpus, recorder: GpuRecorder) -> None:
    gpus.lay(1.0, catalog.GPU_ENERGY, 1.0)
    recorder.take()
    found = recorder.summary([(0.0, 9.0)], ["GPU-a"], samples=1)
    assert "energy_joules_per_sample" not in found
    assert found["unavailable"]["energy_joules_per_sample"] == "no_reading"


def test_what_the_gpu_does_not_tell_has_its_reason(gpus: Gpus, recorder: GpuRecorder) -> None:
    gpus.lay(1.0, catalog.GPU_SM_UTILIZATION, Unavailable(reason="gpm_not_supported"))
    gpus.lay(1.0, catalog.GPU_POWER, 300.0)
    recorder.take()
    found = recorder.summary([(0.0, 2.0)], ["GPU-a"], samples=1)
    assert found["unavailable"]["sm_utilization"] == "gpm_not_supported"
    assert found["power_watts"] == {"mean": 300.0, "p10": 300.0, "p90": 300.0}


@pytest.mark.parametrize(
    ("fault", "goes_on", "reason"),
    [
        (CollectorFailed("driver_not_loaded"), True, "driver_not_loaded"),
        (ZeroDivisionError("x"), False, "collector fault: ZeroDivisionError: x"),
    ],
)
def test_a_fault_is_a_reason(
    gpus: Gpus, recorder: GpuRecorder, fault: Exception, goes_on: bool, reason: str
) -> None:
    gpus.fault = fault
    assert recorder.take() is goes_on
    assert recorder.summary([(0.0, 1.0)], ["GPU-a"], samples=1)["unavailable"]["power_watts"] == reason


def test_another_run_begins_with_nothing(gpus: Gpus, recorder: GpuRecorder) -> None:
    gpus.lay(1.0, catalog.GPU_POWER, 300.0)
    recorder.take()
    recorder.forget()
    assert "power_watts" not in recorder.summary([(0.0, 2.0)], ["GPU-a"], samples=1)


def test_a_long_run_is_thinned_out_evenly(gpus: Gpus, recorder: GpuRecorder) -> None:
    for second in range(5 * MOST_READINGS):
        gpus.lay(float(second), catalog.GPU_POWER, float(second))
    recorder.take()
    end = float(5 * MOST_READINGS)
    found = recorder.summary([(0.0, end)], ["GPU-a"], samples=1)
    assert found["power_watts"]["mean"] == pytest.approx(end / 2, rel=0.01)


def test_the_thread_closes_its_collector(gpus: Gpus, recorder: GpuRecorder) -> None:
    recorder.start()
    recorder.stop()
    assert gpus.closed


def test_whole_readings_are_kept_of_what_rules_look_at_and_of_the_gpus_asked_for(gpus: Gpus) -> None:
    recorder = GpuRecorder(lambda: gpus, played=[catalog.GPU_POWER])
    for time in (1.0, 2.0):
        gpus.lay(time, catalog.GPU_SM_UTILIZATION, 0.5)
        gpus.lay(time, catalog.GPU_POWER, 100 * time)
        gpus.lay(time, catalog.GPU_POWER, 7.0, uuid="GPU-b")
        recorder.take()
    found = recorder.readings(["a"])
    assert [(each.time, [sample.value for sample in each.samples]) for each in found] == [
        (1.0, [100.0]),
        (2.0, [200.0]),
    ]
    recorder.forget()
    assert recorder.readings(["a"]) == []


def test_whole_readings_of_a_long_run_are_thinned_out_evenly(gpus: Gpus) -> None:
    recorder = GpuRecorder(lambda: gpus, played=[catalog.GPU_POWER])
    for time in range(3 * MOST_PLAYED):
        gpus.lay(float(time), catalog.GPU_POWER, 1.0)
        recorder.take()
    times = [each.time for each in recorder.readings(["GPU-a"])]
    assert MOST_PLAYED / 2 <= len(times) <= MOST_PLAYED
    assert times[0] == 0.0
    assert max(after - before for before, after in pairwise(times)) <= 8.0


# ---- energy between two moments ---------------------------------------------------------------------


class Ticking(Gpus):
    """A counter that says a hundred joules more each second, and a second passes from look to look."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def collect(self) -> Iterable[Sample]:
        self.looks += 1
        self.lay(float(self.looks), catalog.GPU_ENERGY, 100.0 * self.looks)
        return super().collect()


def test_counters_are_added_up_at_any_moment_between_readings_of_all_gpus(
    gpus: Gpus, recorder: GpuRecorder
) -> None:
    for time in (0.0, 2.0, 4.0):
        gpus.lay(time, catalog.GPU_ENERGY, 10 * time)
        gpus.lay(time + 1, catalog.GPU_ENERGY, 5 * (time + 1), uuid="GPU-b")
    recorder.take()
    assert recorder.joules_at([0.5, 1.0, 3.5, 4.5], ["a", "GPU-b"]) == [None, 15.0, 52.5, None]
    assert recorder.joules_at([1.0], ["GPU-c"]) == [None]
    assert recorder.joules_at([1.0], []) == [None]


def test_a_moment_that_has_just_passed_is_waited_for() -> None:
    recorder = GpuRecorder(Ticking, interval_seconds=0.001)
    recorder.start()
    recorder.catch_up(20.0, timeout_seconds=30.0)
    assert recorder.joules_at([19.5], ["GPU-a"]) == [1950.0]
    recorder.stop()


def test_a_run_that_ends_between_two_readings_has_its_energy() -> None:
    recorder = GpuRecorder(Ticking, interval_seconds=3600.0)
    recorder.start()
    recorder.catch_up(1.0, timeout_seconds=30.0)
    found = recorder.summary([(1.0, 2.0)], ["GPU-a"], samples=50)
    assert found["energy_joules_per_sample"] == pytest.approx(100 / 50)
    recorder.stop(timeout_seconds=30.0)


def test_the_last_reading_lies_behind_the_end() -> None:
    gpus = Ticking()
    recorder = GpuRecorder(lambda: gpus, interval_seconds=3600.0)
    recorder.start()
    recorder.catch_up(1.0, timeout_seconds=30.0)
    recorder.stop(timeout_seconds=30.0)
    assert recorder.joules_at([2.0], ["GPU-a"]) == [200.0]
    assert gpus.closed


def test_whoever_else_computes_on_these_gpus_is_named() -> None:
    others = [
        GpuProcess(pid=pid, gpu="0", uuid=uuid) for pid, uuid in ((7, "GPU-A"), (3, "GPU-A"), (5, "GPU-B"))
    ]
    recorder = GpuRecorder(Gpus, processes=lambda: others)
    assert recorder.sharers(["a"]) == (3, 7)
    assert recorder.sharers(["GPU-C"]) == ()
