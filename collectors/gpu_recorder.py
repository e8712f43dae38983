"""Samples the GPUs from beside a run and says what they did in given stretches of time."""

import bisect
import os
import statistics
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flyball.clock import Clock
from flyball.collectors import catalog
from flyball.collectors.base import Collector, CollectorFailed, Metric, Reading, Sample, Unavailable

if TYPE_CHECKING:
    from flyball.collectors.nvml_inventory import GpuProcess

INTERVAL_SECONDS = 0.5
"""A trial may step for a few seconds only."""
MOST_READINGS = 4096
"""Kept of one series; beyond, every second one is dropped and half as many are taken."""

Span = tuple[float, float]
"""Begin and end, seconds since the epoch."""

RATIOS: Mapping[str, Metric] = {
    "sm_utilization": catalog.GPU_SM_UTILIZATION,
    "sm_occupancy": catalog.GPU_SM_OCCUPANCY,
    "tensor_active": catalog.GPU_TENSOR_ACTIVE,
    "dram_bandwidth": catalog.GPU_DRAM_BANDWIDTH,
    "power_watts": catalog.GPU_POWER,
}
"""What is summed up by mean and percentiles, by its name in a summary."""
ENERGY = "energy_joules"
CATCH_UP_SECONDS = 4 * INTERVAL_SECONDS
"""How long a reading is waited for that must lie behind a moment which has passed."""
LOOKS_FOR_SHARERS = 4
MOST_PLAYED = 1024
"""Whole readings kept for rules; beyond, every second one is dropped and half as many are kept."""
_NAMES = {metric: name for name, metric in RATIOS.items()} | {catalog.GPU_ENERGY: ENERGY}


@dataclass(slots=True)
class Series:
    """Readings of one value of one GPU, thinned out where there are many."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    _stride: int = 1
    _skipped: int = 0

    def add(self, time: float, value: float) -> None:
        """Take one reading."""
        self._skipped += 1
        if self._skipped < self._stride or (self.times and time <= self.times[-1]):
            return
        self._skipped = 0
        self.times.append(time)
        self.values.append(value)
        if len(self.times) > MOST_READINGS:
            del self.times[1::2], self.values[1::2]
            self._stride *= 2

    def within(self, spans: Sequence[Span]) -> list[float]:
        """Values read inside the spans."""
        found: list[float] = []
        for begin, end in spans:
            found += self.values[bisect.bisect_left(self.times, begin) : bisect.bisect_right(self.times, end)]
        return found

    def at(self, time: float) -> float | None:
        """The value at a time, on the line between two readings; None outside of them."""
        place = bisect.bisect_left(self.times, time)
        if place < len(self.times) and self.times[place] == time:
            return self.values[place]
        if not 0 < place < len(self.times):
            return None
        (before, after), (low, high) = self.times[place - 1 : place + 1], self.values[place - 1 : place + 1]
        return low + (high - low) * (time - before) / (after - before)


@dataclass(slots=True)
class _Readings:
    """Whole readings, thinned out where there are many."""

    kept: list[Reading] = field(default_factory=list)
    _stride: int = 1
    _skipped: int = 0

    def add(self, reading: Reading) -> None:
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self.kept.append(reading)
        if len(self.kept) > MOST_PLAYED:
            del self.kept[1::2]
            self._stride *= 2


class GpuRecorder:
    """Collects in a thread of its own; a fault of it is a reason in the summary and nothing else.

    Args:
        make: gives the collector; called in the thread.
        interval_seconds: from one reading to the next.
        played: metrics of which whole readings are kept, for rules.
        processes: lists the compute processes of the GPUs.
    """

    def __init__(
        self,
        make: Callable[[], Collector],
        *,
        interval_seconds: float = INTERVAL_SECONDS,
        played: Collection[Metric] = (),
        processes: "Callable[[], Sequence[GpuProcess]] | None" = None,
    ) -> None:
        self._make, self._interval_seconds = make, interval_seconds
        self._played = frozenset(played)
        self._processes = processes or _nvml_processes
        self._readings = _Readings()
        self._collector: Collector | None = None
        self._series: dict[tuple[str, str], Series] = {}
        self._missing: dict[str, str] = {}
        self._fault: str | None = None
        self._stop = threading.Event()
        self._due = threading.Event()
        self._lock = threading.Lock()
        self._kept = threading.Condition(self._lock)
        self._read_until = 0.0
        """Time of the newest reading of an energy counter."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to sample."""
        self._thread = threading.Thread(target=self._sample, name="flyball-gpus", daemon=True)
        self._thread.start()

    def stop(self, timeout_seconds: float = 2.0) -> None:
        """Sample no more; a collector that hangs is left behind."""
        self._stop.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def forget(self) -> None:
        """Drop what was read so far: another run begins."""
        with self._lock:
            self._series.clear()
            self._readings = _Readings()
            self._read_until = 0.0

    def readings(self, uuids: Collection[str]) -> list[Reading]:
        """What was read of some GPUs since the run began, of the metrics that are ``played``."""
        wanted = {plain_uuid(uuid) for uuid in uuids}
        with self._lock:
            kept = list(self._readings.kept)
        return [
            Reading(
                time=each.time,
                samples=tuple(one for one in each.samples if plain_uuid(one.label("uuid")) in wanted),
            )
            for each in kept
        ]

    def _sample(self) -> None:
        while self.take() and not self._stop.is_set():
            self._due.wait(self._interval_seconds)
            self._due.clear()
        if self._stop.is_set():
            self.take()  # what happened up to now is told by a reading behind it
        if self._collector is not None:
            self._collector.close()

    def take(self) -> bool:
        """Take one reading of everything; False where it makes no sense to go on."""
        try:
            if self._collector is None:
                self._collector = self._make()
            samples = list(self._collector.collect())
        except CollectorFailed as error:
            self._fault = error.reason
            return True
        except Exception as error:  # a collector's own bug, or one of another package
            self._fault = f"collector fault: {type(error).__name__}: {error}"
            return False
        with self._lock:
            self._keep(samples)
        return True

    def _keep(self, samples: Sequence[Sample]) -> None:
        if self._played and (played := tuple(each for each in samples if each.metric in self._played)):
            self._readings.add(Reading(time=max(each.time for each in played), samples=played))
        for sample in samples:
            name = _NAMES.get(sample.metric)
            if name is None:
                continue
            if isinstance(sample.value, Unavailable):
                self._missing[name] = sample.value.reason
            elif isinstance(sample.value, int | float):
                key = (name, plain_uuid(sample.label("uuid")))
                self._series.setdefault(key, Series()).add(sample.time, float(sample.value))
                if name == ENERGY:
                    self._read_until = max(self._read_until, sample.time)
        self._kept.notify_all()

    def summary(
        self, spans: Sequence[Span], uuids: Collection[str], *, samples: float | None
    ) -> dict[str, Any]:
        """What the GPUs did within some spans of time that have passed; sampled once more where need be.

        Args:
            spans: disjoint, ascending.
            uuids: of the GPUs that count.
            samples: that were trained on within the spans, for the energy of one.

        Returns:
            ``sm_utilization``, ``sm_occupancy``, ``tensor_active``, ``dram_bandwidth`` (ratios) and
            ``power_watts``, each with ``mean``, ``p10`` and ``p90`` over all readings of all these GPUs;
            ``energy_joules_per_sample`` of all of them together; ``unavailable``, name to reason.
        """
        wanted = {plain_uuid(uuid) for uuid in uuids}
        if wanted and spans:
            self.catch_up(spans[-1][1])
        found: dict[str, Any] = {}
        missing: dict[str, str] = {}
        with self._lock:
            for name in RATIOS:
                values = [
                    value
                    for (kind, uuid), series in self._series.items()
                    if kind == name and uuid in wanted
                    for value in series.within(spans)
                ]
                if values:
                    found[name] = statistic(values)
                else:
                    missing[name] = self._reason(name)
            joules = self._joules(spans, wanted)
        if joules is not None and samples:
            found["energy_joules_per_sample"] = joules / samples
        else:
            missing["energy_joules_per_sample"] = self._reason(ENERGY)
        return {**found, "unavailable": missing}

    def catch_up(self, time: float, *, timeout_seconds: float = CATCH_UP_SECONDS) -> None:
        """Have the energy read at or after a time, at most so long; not where none is told."""
        if self._thread is None or not self._thread.is_alive():
            return
        with self._kept:
            if self._read_until < time:
                self._due.set()
                self._kept.wait_for(lambda: self._read_until >= time or self._tells_none(), timeout_seconds)

    def _tells_none(self) -> bool:
        return ENERGY in self._missing or self._fault is not None

    def joules_at(self, times: Sequence[float], uuids: Collection[str]) -> list[float | None]:
        """Return what the counters of some GPUs said together at some times, joules; only differences count.

        On the line between two readings; None before the first and after the last of any of them.
        """
        with self._lock:
            counters = [self._series.get((ENERGY, plain_uuid(uuid))) for uuid in uuids]
            return [_together(counters, time) for time in times]

    def energy_reason(self) -> str:
        """Return why a GPU told no energy."""
        return self._reason(ENERGY)

    def sharers(self, uuids: Collection[str]) -> tuple[int, ...]:
        """Return the processes that compute on some GPUs, by their ids, once a run on them has ended.

        While the GPUs are sampled, whoever is just leaving is given ``CATCH_UP_SECONDS`` to be gone.
        """
        wanted = {plain_uuid(uuid) for uuid in uuids}
        for _ in range(LOOKS_FOR_SHARERS):
            found = sorted(each.pid for each in self._processes() if plain_uuid(each.uuid) in wanted)
            if not found or self._thread is None or self._stop.wait(CATCH_UP_SECONDS / LOOKS_FOR_SHARERS):
                break
        return tuple(found)

    def _reason(self, name: str) -> str:
        return self._missing.get(name) or self._fault or "no_reading"

    def _joules(self, spans: Sequence[Span], uuids: Collection[str]) -> float | None:
        counters = [self._series.get((ENERGY, uuid)) for uuid in uuids]
        total = 0.0
        for series in counters:
            for begin, end in spans:
                first, last = (series.at(begin), series.at(end)) if series else (None, None)
                if first is None or last is None:
                    return None
                total += last - first
        return total if counters and spans else None


def _together(counters: Sequence[Series | None], time: float) -> float | None:
    total = 0.0
    for series in counters:
        value = series.at(time) if series is not None else None
        if value is None:
            return None
        total += value
    return total if counters else None


def statistic(values: Sequence[float]) -> dict[str, float]:
    """Mean, 10th and 90th percentile."""
    if len(values) < 2:
        return dict.fromkeys(("mean", "p10", "p90"), values[0])
    cuts = statistics.quantiles(values, n=10, method="inclusive")
    return {"mean": statistics.fmean(values), "p10": cuts[0], "p90": cuts[-1]}


def plain_uuid(uuid: str) -> str:
    """A GPU's UUID as all sources write it: torch leaves the prefix out."""
    return uuid.removeprefix("GPU-").lower()


def _nvml_processes() -> "Sequence[GpuProcess]":
    from flyball.collectors.nvml_inventory import list_gpu_processes

    return list_gpu_processes()


def nvml_collector(clock: Clock) -> Collector:
    """The collector of this machine's NVIDIA GPUs; it reads the energy counter every time."""
    from flyball.collectors.nvml import NvmlCollector
    from flyball.collectors.registry import Surroundings
    from flyball.collectors.runs import Runs

    host = os.uname().nodename
    surroundings = Surroundings(host=host, clock=clock, runs=Runs((), clock=clock, host=host))
    return NvmlCollector(surroundings, interval_seconds=INTERVAL_SECONDS, energy_every=1)
