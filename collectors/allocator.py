"""torch's caching allocator, rank by rank, from the journals: what it holds and how fragmented that is."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample, Unavailable
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.collectors.run_state import RankState

NO_ALLOCATOR = Unavailable(reason="no_cuda_allocator", detail="the rank trains on the CPU")

_GAUGES: tuple[tuple[str, Metric], ...] = (
    ("allocated", catalog.ALLOCATOR_ALLOCATED),
    ("reserved", catalog.ALLOCATOR_RESERVED),
    ("active", catalog.ALLOCATOR_ACTIVE),
    ("retries", catalog.ALLOCATOR_RETRIES),
)


class AllocatorCollector:
    """Reads the ``memory`` of the step records."""

    name = "allocator"

    def __init__(self, surroundings: Surroundings, *, interval_seconds: float) -> None:
        self.interval_seconds = interval_seconds
        self._surroundings = surroundings

    def collect(self) -> Iterable[Sample]:
        """Bytes and fragmentation of each rank that trains on a GPU."""
        ranks = self._surroundings.runs.refresh()
        now = self._surroundings.clock.time()
        yield from allocator_samples([state for state in ranks if state.purpose == "run"], now)

    def close(self) -> None:
        """Hold nothing: the journals belong to ``Runs``."""


def allocator_samples(ranks: Iterable[RankState], now: float) -> Iterator[Sample]:
    """What the allocators of these ranks hold, whatever their runs are for."""
    for state in ranks:
        # Also of a rank that has ended: it may be what ended it.
        failed = max(state.failed_allocations, int((state.memory or {}).get("ooms", 0)))
        labels = (state.run, str(state.rank))
        yield Sample(metric=catalog.ALLOCATOR_OOMS, labels=labels, value=float(failed), time=now)
        if state.memory is not None and state.finished_time is None:
            yield from _samples(state, state.memory, now)


def _samples(state: RankState, memory: Mapping[str, Any], now: float) -> Iterator[Sample]:
    labels = (state.run, str(state.rank))
    if "reserved" not in memory:
        yield Sample(metric=catalog.ALLOCATOR_RESERVED, labels=labels, value=NO_ALLOCATOR, time=now)
        return
    for key, metric in _GAUGES:
        yield Sample(metric=metric, labels=labels, value=float(memory[key]), time=now)
    if not memory.get("expandable"):
        value = float(memory["inactive_split"])
        yield Sample(metric=catalog.ALLOCATOR_INACTIVE_SPLIT, labels=labels, value=value, time=now)
    for method, ratio in fragmentation(state).items():
        yield Sample(metric=catalog.ALLOCATOR_FRAGMENTATION, labels=(*labels, method), value=ratio, time=now)


def fragmentation(state: RankState) -> dict[str, float]:
    """A rank's fragmentation, 0 to 1, by each method whose figures are known.

    ``peak``: 1 - peak active / peak reserved, the greatest since the run began (GMLake,
    https://arxiv.org/abs/2401.08156); ``slack``: 1 - active / reserved; ``inactive_split``: inactive split /
    reserved, absent under expandable segments, where torch does not maintain it; ``external``: 1 - largest
    free block / free bytes, from the last snapshot.
    """
    memory = state.memory or {}
    reserved = float(memory.get("reserved", 0))
    found = {}
    if state.peaks is not None:
        active, peak_reserved = state.peaks
        if peak_reserved > 0:
            found["peak"] = _clip(1 - active / peak_reserved)
    if reserved > 0:
        found["slack"] = _clip(1 - float(memory["active"]) / reserved)
        if not memory.get("expandable"):
            found["inactive_split"] = _clip(float(memory["inactive_split"]) / reserved)
    if state.free is not None:
        largest, free = state.free
        found["external"] = _clip(1 - largest / free) if free > 0 else 0.0
    return found


def _clip(ratio: float) -> float:
    return min(1.0, max(0.0, ratio))


def _make(settings: CollectorSettings, surroundings: Surroundings) -> AllocatorCollector:
    return AllocatorCollector(surroundings, interval_seconds=settings.interval_seconds)


TYPE = CollectorType(
    name="allocator",
    help="torch's caching allocator: bytes, retries, failures and fragmentation by four methods",
    settings=CollectorSettings,
    make=_make,
    shares_thread=True,
)
