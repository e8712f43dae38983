"""What the GPUs did within given stretches of time, from readings taken beside a run."""

from collections.abc import Iterable
from itertools import pairwise

import pytest

from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Metric, Sample, Unavailable
from flyball.collectors.gpu_recorder import MOST_PLAYED, MOST_READINGS, GpuRecorder

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
