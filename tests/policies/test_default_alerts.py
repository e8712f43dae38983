"""The policies that come with flyball, played to the engine: quiet while all is well, loud when it is not."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from tests.policies.machine import BUSY_GPU, RANK, Machine, recorded_steps

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from flyball.collectors.distribution import Tally
from flyball.policies.rule_file import read_rules
from flyball.tuners.knobs.registry import BY_NAME

MINUTE = 60.0


def after_start(minutes: float = 12.0) -> Machine:
    """A machine whose run has stepped for some time."""
    machine = Machine()
    machine.live(MINUTE)
    machine.phase = "stepping"
    machine.live(minutes * MINUTE)
    assert machine.fired == {}
    return machine


@pytest.mark.parametrize("noise", ["step_noise", "step_noise_busy"])
def test_a_healthy_run_of_half_an_hour_raises_nothing_from_its_start_to_its_end(noise: str) -> None:
    machine = Machine(steps=recorded_steps(noise))
    machine.live(2 * MINUTE, every=2.0)
    for number in range(6):
        machine.phase = "stepping"
        machine.live(4.5 * MINUTE, every=2.0)
        machine.phase = "checkpointing" if number % 2 else "evaluating"
        machine.live(0.5 * MINUTE, every=2.0)
    machine.phase = "finished"
    machine.live(MINUTE, every=2.0)
    machine.phase = ""
    machine.live(2 * MINUTE, every=2.0)
    assert machine.fired == {}
    assert machine.engine.active() == ()


def test_slow_first_steps_raise_nothing() -> None:
    machine = Machine(step_scale=40.0, sm_ratio=0.1, collective_scale=20.0)
    machine.live(MINUTE)
    machine.phase = "stepping"
    machine.live(3 * MINUTE)
    machine.step_scale, machine.sm_ratio, machine.collective_scale = 1.0, 0.9, 1.0
    machine.live(20 * MINUTE)
    assert machine.fired == {}


def test_idle_gpus_raise_nothing() -> None:
    machine = Machine(phase="")
    machine.live(30 * MINUTE)
    assert machine.fired == {}


def set_to(metric: Metric, labels: tuple[str, ...], value: float) -> Callable[[Machine, float], None]:
    def change(machine: Machine, seconds: float) -> None:
        del seconds
        machine.others[metric, labels] = value

    return change


def growing(
    metric: Metric, labels: tuple[str, ...], value: Callable[[float], float]
) -> Callable[[Machine, float], None]:
    def change(machine: Machine, seconds: float) -> None:
        machine.others[metric, labels] = value(seconds)

    return change


def attribute(name: str, value: float | str) -> Callable[[Machine, float], None]:
    def change(machine: Machine, seconds: float) -> None:
        del seconds
        setattr(machine, name, value)

    return change


@dataclass(frozen=True)
class Case:
    """A fault, and the minutes within which its alert fires."""

    alert: str
    fault: Callable[[Machine, float], None]
    minutes: float
    least: float = 0.0
    """Before that it is too early."""


DISK = ("node", "/runs")
FAULTS = [
    Case("SmUtilizationLow", attribute("sm_ratio", 0.5), 8, 5),
    Case("FragmentationHigh", set_to(catalog.ALLOCATOR_FRAGMENTATION, (*RANK, "peak"), 0.42), 5.2, 5),
    Case("AllocatorRetries", growing(catalog.ALLOCATOR_RETRIES, RANK, lambda t: 2 + t // 20), 3),
    Case("AllocationsFailing", set_to(catalog.ALLOCATOR_OOMS, RANK, 1.0), 0.5),
    Case("P2pLatencyHigh", attribute("backend", "nccl"), 3.5, 0.5),
    Case("P2pLatencyRegressed", attribute("latency_scale", 20.0), 4.5, 2),
    Case("CollectiveLatencyRegressed", attribute("collective_scale", 20.0), 7, 5),
    Case("CollectiveStuck", growing(catalog.COLLECTIVE_PENDING, RANK, lambda t: t), 5.5, 5),
    Case("StepTimeRegressed", attribute("step_scale", 2.0), 9, 5),
    Case("RecommendationNotHolding", set_to(catalog.PROMISE_KEPT, RANK, 0.8), 15, 10),
    Case("StragglingRank", set_to(catalog.STRAGGLER, RANK, 1.8), 10, 5),
    Case("RunStalled", growing(catalog.RUN_SILENT, RANK, lambda t: t), 6.5, 6),
    Case("LossNan", set_to(catalog.LOSS, RANK, math.nan), 1.2, 1),
    Case("LossExploding", attribute("loss_scale", 30.0), 9, 5),
    Case("LossScaleCollapsing", set_to(catalog.LOSS_SCALE, RANK, 1.0), 2.2, 2),
    Case("NoCheckpoint", growing(catalog.STEPS_SINCE_CHECKPOINT, RANK, lambda t: 900 + t), 32, 30),
    Case("RecoverySlow", growing(catalog.RECOVERY, RANK, lambda t: t), 5.5, 5),
    Case("CheckpointDiskFilling", set_to(catalog.HOST_FILESYSTEM_FREE, DISK, 0.09e12), 5.2, 5),
    Case("CheckpointDiskFull", set_to(catalog.HOST_FILESYSTEM_FREE, DISK, 0.01e12), 1.2, 1),
    Case("QueueGrowing", growing(catalog.QUEUE_LENGTH, RANK, lambda t: t / 2), 8, 5),
    Case("GpuXidCritical", set_to(catalog.GPU_XID_ERRORS, (*BUSY_GPU, "79"), 1.0), 0.2),
    Case("GpuXidWarning", set_to(catalog.GPU_XID_ERRORS, (*BUSY_GPU, "31"), 1.0), 0.2),
    Case("GpuEccUncorrected", set_to(catalog.GPU_ECC_ERRORS, (*BUSY_GPU, "uncorrected"), 2.0), 0.2),
    Case("GpuRowRemapPending", set_to(catalog.GPU_ROW_REMAPPING, (*BUSY_GPU, "pending"), 1.0), 1.2, 1),
    Case("GpuRowRemapFailed", set_to(catalog.GPU_ROW_REMAPPING, (*BUSY_GPU, "failed"), 1.0), 1.2, 1),
    Case("GpuLost", set_to(catalog.GPU_LOST, BUSY_GPU, 1.0), 1, 0.5),
    Case(
        "GpuThermalThrottling",
        set_to(catalog.GPU_THROTTLED, (*BUSY_GPU, "hw_thermal_slowdown"), 1.0),
        7,
        5,
    ),
    Case("GpuPowerBrake", set_to(catalog.GPU_THROTTLED, (*BUSY_GPU, "hw_power_brake_slowdown"), 1.0), 2, 1),
    Case("GpuClockDropped", set_to(catalog.GPU_SM_CLOCK, BUSY_GPU, 9e8), 9, 5),
    Case("CollectorDown", set_to(catalog.COLLECTOR_UP, ("host", "stalled"), 0.0), 5.2, 5),
    Case("NotificationsWaiting", set_to(catalog.OUTBOX_DEPTH, (), 3.0), 16, 5),
    Case("OutboxDeep", set_to(catalog.OUTBOX_DEPTH, (), 5000.0), 1.2, 1),
    Case("AlertsLost", set_to(catalog.ALERTS_LOST, (), 4.0), 0.2),
    Case("ConfigReloadFailed", set_to(catalog.CONFIG_RELOAD_SUCCESSFUL, (), 0.0), 1.2, 1),
]
COMPANIONS = {"CheckpointDiskFull": {"CheckpointDiskFilling"}}


@pytest.mark.parametrize("case", FAULTS, ids=[each.alert for each in FAULTS])
def test_each_fault_raises_its_alert_in_time_and_no_other_and_its_end_resolves_it(case: Case) -> None:
    machine = after_start()
    begun = machine.seconds
    machine.live(case.minutes * MINUTE, change=lambda seconds: case.fault(machine, seconds))
    assert set(machine.fired) - COMPANIONS.get(case.alert, set()) == {case.alert}
    assert machine.fired[case.alert] - begun >= case.least * MINUTE
    well = Machine()
    machine.others.clear()
    for name in ("sm_ratio", "step_scale", "latency_scale", "collective_scale", "loss_scale", "backend"):
        setattr(machine, name, getattr(well, name))
    machine.live(20 * MINUTE)
    assert machine.firing() == set()
    assert set(machine.fired) - COMPANIONS.get(case.alert, set()) == {case.alert}


def test_a_preflight_that_finds_a_slow_link_is_heard_of_while_it_is_shown() -> None:
    machine = Machine(phase="")
    machine.live(2 * MINUTE)
    slow, labels = Tally(catalog.P2P_LATENCY), ("p2p-1", "0", "1", "8KiB", "preflight", "nccl")
    machine.others[catalog.P2P_LATENCY, labels] = slow.distribution()
    machine.live(1.0, every=1.0)
    slow.observe(300e-6, 1000)
    machine.others[catalog.P2P_LATENCY, labels] = slow.distribution()
    machine.live(MINUTE, every=1.0)
    assert machine.firing() == {"P2pLatencyHigh"}


def test_a_run_that_dies_of_memory_raises_its_alert_and_is_heard_of_after_its_series_are_gone() -> None:
    machine = after_start()
    machine.phase = "finished"
    machine.live(MINUTE, change=lambda _: machine.others.update({(catalog.ALLOCATOR_OOMS, RANK): 1.0}))
    assert machine.firing() == {"OutOfMemory"}
    machine.phase = ""
    machine.others.clear()
    machine.live(5 * MINUTE)
    assert machine.firing() == {"OutOfMemory"}
    machine.live(6 * MINUTE)
    assert machine.firing() == set()


def test_no_policy_is_without_a_fault_here() -> None:
    shown = {each.alert for each in FAULTS} | {"OutOfMemory"}
    assert shown == {rule.alert for rule in read_rules(["default"], known_knobs=BY_NAME)}
