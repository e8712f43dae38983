"""Passes of a pipeline's stage on CUDA: told once the device has passed them, and never waited for."""

from __future__ import annotations

from flyball.runner.probe.stage_times import MOST_FLYING, CudaTimes, HostTimes, times_for


class Device:
    """Stands in for ``torch.cuda``: events are numbered in milliseconds, and passed up to a moment."""

    def __init__(self) -> None:
        self.now = self.passed = 0.0

    def Event(self, *, enable_timing: bool) -> Event:  # noqa: N802 - torch's name
        assert enable_timing
        return Event(self)


class Event:
    def __init__(self, device: Device) -> None:
        self.device, self.at = device, 0.0

    def record(self) -> None:
        self.at = self.device.now

    def query(self) -> bool:
        return self.at <= self.device.passed

    def elapsed_time(self, other: Event) -> float:
        return other.at - self.at


def step(times: CudaTimes, device: Device) -> None:
    """Two passes of 100 ms with 50 ms between them."""
    for _ in range(2):
        begun = times.begin()
        device.now += 100
        times.end(begun)
        device.now += 50
    times.close()


def test_a_step_is_told_when_the_device_has_passed_it() -> None:
    device = Device()
    times = CudaTimes(device)
    step(times, device)
    step(times, device)
    assert times.take() is None
    device.passed = 250.0
    assert times.take() == (0.2, 0.25)
    assert times.take() is None
    device.passed = 1000.0
    assert times.take() == (0.2, 0.25)


def test_steps_that_the_device_never_passes_do_not_pile_up() -> None:
    device = Device()
    times = CudaTimes(device)
    for _ in range(MOST_FLYING + 5):
        step(times, device)
    device.passed = device.now
    busy, span = times.take() or (0.0, 0.0)
    assert (round(busy, 6), round(span, 6)) == (0.2 * MOST_FLYING, 0.25 * MOST_FLYING)


def test_a_step_without_passes_tells_nothing() -> None:
    times = HostTimes()
    times.close()
    assert times.take() is None
    begun = times.begin()
    times.end(begun)
    assert times.take() is None  # the step is not over
    times.close()
    busy, span = times.take() or (0.0, 0.0)
    assert 0 < busy <= span


def test_another_accelerator_is_not_timed() -> None:
    assert times_for(None, "xpu:0") is None
    assert isinstance(times_for(None, "cpu"), HostTimes)
