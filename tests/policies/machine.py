"""A machine that is well until a test says otherwise: a GPU that trains, one that idles, and their agent."""

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Metric, Sample
from flyball.collectors.distribution import Tally
from flyball.collectors.nvml_device import THROTTLING
from flyball.collectors.nvml_xids import AWAITED
from flyball.history.alert_records import AlertStatus
from flyball.policies.engine import Engine
from flyball.policies.rule_file import read_rules
from flyball.tuners.knobs.registry import BY_NAME

NOISE = Path(__file__).parents[1] / "benchmarks" / "data"
BEGIN = 1_800_000_000.0
BUSY_GPU, IDLE_GPU, RANK = ("node", "0", "GPU-a"), ("node", "1", "GPU-b"), ("job", "0")
SMALL, LARGE = "8KiB", "16MiB"

Value = float | Distribution
Reading = dict[tuple[Metric, tuple[str, ...]], Value]


def recorded_steps(name: str) -> Iterator[float]:
    """Seconds of the steps of one recorded run after another, for ever."""
    runs = json.loads((NOISE / f"{name}.json").read_text("utf-8"))["runs"]
    return cycle(step / 1e6 for run in runs for step in run[5:])


@dataclass(kw_only=True)
class Machine:
    """Its attributes are what a test changes."""

    steps: Iterator[float] = field(default_factory=lambda: recorded_steps("step_noise"))
    phase: str = "starting"
    """Of the rank; empty where there is none."""
    sm_ratio: float = 0.9
    step_scale: float = 1.0
    latency_scale: float = 1.0
    collective_scale: float = 1.0
    loss_scale: float = 1.0
    backend: str = "gloo"
    others: Reading = field(default_factory=dict)
    """What is so instead of what would be."""
    seconds: float = 0.0
    noise: random.Random = field(default_factory=lambda: random.Random(7))

    def __post_init__(self) -> None:
        self.step_tally = Tally(catalog.STEP_SECONDS)
        self.latencies = {SMALL: Tally(catalog.P2P_LATENCY), LARGE: Tally(catalog.P2P_LATENCY)}
        self.collectives = {op: Tally(catalog.COLLECTIVE_LATENCY) for op in ("all_reduce", "barrier")}
        self.engine = Engine(read_rules(["default"], known_knobs=BY_NAME))
        self.fired: dict[str, float] = {}
        """Alert to the seconds at which it first fired."""

    def live(
        self, seconds: float, *, every: float = 10.0, change: Callable[[float], None] | None = None
    ) -> None:
        """Let time pass; ``change`` is called with the seconds since then, before each reading."""
        begun = self.seconds
        while self.seconds < begun + seconds:
            self.seconds += every
            if change is not None:
                change(self.seconds - begun)
            self._work(every)
            now = BEGIN + self.seconds
            samples = [
                Sample(metric=metric, labels=labels, value=value, time=now)
                for (metric, labels), value in self.reading().items()
            ]
            self.engine.observe("all", now, samples)
            for transition in self.engine.evaluate(now):
                if transition.alert.status is AlertStatus.FIRING:
                    self.fired.setdefault(transition.alert.rule, self.seconds)

    def firing(self) -> set[str]:
        """Alerts that fire now."""
        return {each.rule for each in self.engine.active() if each.status is AlertStatus.FIRING}

    def reading(self) -> Reading:
        """All that the collectors give now."""
        found: Reading = {}
        for gpu in (BUSY_GPU, IDLE_GPU):
            found |= self._gpu(gpu)
        found |= self._agent()
        if self.phase:
            found |= self._rank()
        return found | self.others

    def _work(self, seconds: float) -> None:
        if self.phase != "stepping":
            return
        for step in islice(self.steps, 40):
            self.step_tally.observe(step * self.step_scale, 1)
        for size, usual in ((SMALL, 58e-6), (LARGE, 4e-3)):
            for _ in range(20):
                self.latencies[size].observe(usual * self._jitter(0.3) * self.latency_scale, 1)
        for _ in range(40):
            self.collectives["all_reduce"].observe(2e-3 * self._jitter(0.3) * self.collective_scale, 1)
        if int(self.seconds) % 600 < seconds:
            self.collectives["barrier"].observe(10 ** self.noise.uniform(-3, 0), 1)

    def _jitter(self, share: float) -> float:
        return max(0.1, self.noise.gauss(1.0, share))

    def _gpu(self, gpu: tuple[str, str, str]) -> Reading:
        busy = gpu is BUSY_GPU and self.phase == "stepping"
        quiet = 0.0 if gpu is IDLE_GPU else 0.02
        values: Reading = {
            (catalog.GPU_SM_UTILIZATION, (*gpu, "gpm")): self.sm_ratio * self._jitter(0.05)
            if busy
            else quiet,
            (catalog.GPU_SM_CLOCK, gpu): 1.9e9 * self._jitter(0.02) if busy else 3.45e8,
            (catalog.GPU_TEMPERATURE, gpu): 65.0 if busy else 30.0,
        }
        values[catalog.GPU_LOST, gpu] = 0.0
        for reason in THROTTLING:
            values[catalog.GPU_THROTTLED, (*gpu, reason)] = float(busy and reason == "sw_power_cap")
        for xid in AWAITED:
            values[catalog.GPU_XID_ERRORS, (*gpu, xid)] = 0.0
        for kind in ("corrected", "uncorrected"):
            values[catalog.GPU_ECC_ERRORS, (*gpu, kind)] = 3.0 if kind == "corrected" else 1.0
        for state in ("pending", "failed", "uncorrectable"):
            values[catalog.GPU_ROW_REMAPPING, (*gpu, state)] = 0.0
        return values

    def _rank(self) -> Reading:
        link = ("job", "0", "1")
        values: Reading = {
            (catalog.RUN_INFO, (*RANK, *BUSY_GPU, self.phase, "")): 1.0,
            (catalog.STEP_SECONDS, RANK): self.step_tally.distribution(),
            (catalog.STEPS_SINCE_CHECKPOINT, RANK): self.seconds % 600,
            (catalog.ALLOCATOR_OOMS, RANK): 0.0,
        }
        for size, tally in self.latencies.items():
            labels = (*link, size, "in_band", self.backend)
            values[catalog.P2P_LATENCY, labels] = tally.distribution()
        for op, tally in self.collectives.items():
            values[catalog.COLLECTIVE_LATENCY, (*RANK, op, LARGE, "timed")] = tally.distribution()
        if self.phase == "starting":
            return values
        values[catalog.LOSS, RANK] = (0.5 + 5.0 * 0.999**self.seconds) * self._jitter(0.1) * self.loss_scale
        values[catalog.LOSS_SCALE, RANK] = 65_536.0
        values[catalog.STRAGGLER, RANK] = self._jitter(0.02)
        values[catalog.PROMISE_KEPT, RANK] = 1.1 * self._jitter(0.05)
        if self.phase == "stepping":
            values[catalog.RUN_SILENT, RANK] = 0.3
        if self.phase != "finished":
            values[catalog.ALLOCATOR_FRAGMENTATION, (*RANK, "peak")] = 0.12
            values[catalog.ALLOCATOR_RETRIES, RANK] = 2.0
        return values

    def _agent(self) -> Reading:
        up = catalog.COLLECTOR_UP
        return {
            (up, ("nvml", "")): 1.0,
            (up, ("nvml", "not_supported")): 0.0,
            (up, ("dcgm", "library_not_found")): 0.0,
            (up, ("nccl", "no_flight_recorder")): 0.0,
            (catalog.OUTBOX_DEPTH, ()): 0.0,
            (catalog.ALERTS_LOST, ()): 0.0,
            (catalog.CONFIG_RELOAD_SUCCESSFUL, ()): 1.0,
            (catalog.HOST_FILESYSTEM_FREE, ("node", "/runs")): 4e11,
            (catalog.HOST_FILESYSTEM_SIZE, ("node", "/runs")): 1e12,
        }
