"""What the runs of this host do: steps, throughput, loss, stragglers, and which rank works on which GPU."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from flyball.collectors import catalog
from flyball.collectors.base import Sample, Unavailable
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.collectors.run_state import RankState
from flyball.collectors.unprobed import NOT_PROBED, Unprobed, UnprobedProcesses

GpuIndices = Callable[[], Mapping[str, str]]
"""UUID of each GPU of this host to its index."""


class WorkloadCollector:
    """Reads the journals of all local ranks.

    Args:
        surroundings: host, clock and journals.
        interval_seconds: from one reading to the next.
        gpu_indices: where the GPUs stand; without it the device that the rank named is its index.
        unprobed: finds the processes that train unwatched.
    """

    name = "workload"

    def __init__(
        self,
        surroundings: Surroundings,
        *,
        interval_seconds: float,
        gpu_indices: GpuIndices = dict,
        unprobed: Callable[[Sequence[RankState]], Sequence[Unprobed]] = lambda _: (),
    ) -> None:
        self.interval_seconds = interval_seconds
        self._surroundings = surroundings
        self._gpu_indices, self._unprobed = gpu_indices, unprobed

    def collect(self) -> Iterable[Sample]:
        """Everything that the journals say of the steps, trials left out."""
        ranks = self._surroundings.runs.refresh()
        now, clock = self._surroundings.clock.time(), self._surroundings.clock.monotonic()
        watched = [state for state in ranks if state.purpose == "run"]
        yield from workload_samples(watched, self._gpu_indices(), now, clock)
        for process in self._unprobed(ranks):
            yield self._not_probed(process, now)
        yield from self._unread(now)

    def _unread(self, now: float) -> Iterator[Sample]:
        # One for each reason: where several users' runs lie, anybody can make as many faults as he likes.
        first = {fault.reason: fault for fault in reversed(self._surroundings.runs.faults())}
        for reason, fault in sorted(first.items()):
            rank = "" if fault.rank is None else str(fault.rank)
            detail = f"run {fault.run}{rank and f', rank {rank}'}: {fault.detail}"
            labels = (fault.run, rank, self._surroundings.host, "", "", "", reason)
            why = Unavailable(reason=reason, detail=detail)
            yield Sample(metric=catalog.RUN_INFO, labels=labels, value=why, time=now)

    def _not_probed(self, process: Unprobed, now: float) -> Sample:
        host = self._surroundings.host
        labels = (f"pid-{process.pid}", process.rank, host, process.gpu, process.uuid, "", NOT_PROBED)
        return Sample(metric=catalog.RUN_INFO, labels=labels, value=1.0, time=now)

    def close(self) -> None:
        """Hold nothing: the journals belong to ``Runs``."""


def workload_samples(
    ranks: Sequence[RankState], indices: Mapping[str, str], now: float, clock: float
) -> Iterator[Sample]:
    """What these ranks do, whatever their runs are for.

    Args:
        ranks: all of a run that are on this host.
        indices: UUID of each GPU to its index.
        now: seconds since the epoch.
        clock: the same time on the machine's monotonic clock.
    """
    stragglers = straggler_ratios(ranks)
    for state in ranks:
        yield _run_info(state, indices, now)
        yield from _rank_samples(state, now, clock)
        if (ratio := stragglers.get(id(state))) is not None:
            yield Sample(metric=catalog.STRAGGLER, labels=_labels(state), value=ratio, time=now)


def _run_info(state: RankState, indices: Mapping[str, str], now: float) -> Sample:
    uuid = state.gpu_uuid or ""
    gpu = indices.get(uuid, state.device.removeprefix("cuda:") if uuid else "")
    labels = (*_labels(state), state.host, gpu, uuid, state.phase, "")
    return Sample(metric=catalog.RUN_INFO, labels=labels, value=1.0, time=now)


def _labels(state: RankState) -> tuple[str, str]:
    return (state.run, str(state.rank))


def _rank_samples(state: RankState, now: float, clock: float) -> Iterator[Sample]:
    labels = _labels(state)
    values = (
        (catalog.STEP_SECONDS, state.step_seconds.distribution()),
        (catalog.SAMPLES, float(state.samples)),
        (catalog.TOKENS, float(state.tokens) or None),
        (catalog.PROMISE_KEPT, _promise_kept(state)),
        (catalog.SKIPPED_STEPS, float(state.skipped)),
        (catalog.LOSS, state.loss),
        (catalog.GRAD_NORM, state.grad_norm),
        (catalog.LOSS_SCALE, state.loss_scale),
        (catalog.LAST_CHECKPOINT_STEP, _float(state.last_checkpoint_step)),
        (catalog.STEPS_SINCE_CHECKPOINT, float(state.progress.steps_since_checkpoint)),
        (catalog.RECOVERY, state.progress.recovery_seconds(clock)),
        (catalog.RUN_SILENT, state.silent_seconds(clock)),
        (catalog.QUEUE_LENGTH, _float(state.queue_length)),
        (catalog.RUNNING_REQUESTS, _float(state.running_requests)),
        (catalog.JOURNAL_TORN_LINES, float(state.torn_lines)),
    )
    for metric, value in values:
        if value is not None and not (state.reason and metric is catalog.STEP_SECONDS):
            yield Sample(metric=metric, labels=labels, value=value, time=now)
    if state.promised is not None:
        for bound, rate in zip(("low", "high"), state.promised, strict=True):
            yield Sample(metric=catalog.PROMISED, labels=(*labels, bound), value=rate, time=now)
    if state.reason:
        detail = f"run {state.run}, rank {state.rank}: {state.probe_off or state.reason}"
        missing = Unavailable(reason=state.reason, detail=detail)
        yield Sample(metric=catalog.STEP_SECONDS, labels=labels, value=missing, time=now)


def _promise_kept(state: RankState) -> float | None:
    rate = state.samples_per_second
    return None if rate is None or state.promised is None else rate / state.promised[0]


def _float(value: int | None) -> float | None:
    return None if value is None else float(value)


def straggler_ratios(ranks: Sequence[RankState]) -> dict[int, float]:
    """Median of each rank's recent steps over the median of its run's local ranks, by ``id`` of the state.

    A run with one rank on this host has none: there is nobody to be slower than.
    """
    by_run: dict[str, list[RankState]] = {}
    for state in ranks:
        if state.recent_step_seconds and state.finished_time is None:
            by_run.setdefault(state.run, []).append(state)
    found = {}
    for states in by_run.values():
        if len(states) > 1:
            own = {id(state): _median(state.recent_step_seconds) for state in states}
            middle = _median(own.values())
            if middle > 0:
                found.update({rank: value / middle for rank, value in own.items()})
    return found


def _median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _make(settings: CollectorSettings, surroundings: Surroundings) -> WorkloadCollector:
    finder = UnprobedProcesses(clock=surroundings.clock)
    return WorkloadCollector(
        surroundings,
        interval_seconds=settings.interval_seconds,
        gpu_indices=finder.gpu_indices,
        unprobed=finder.find,
    )


TYPE = CollectorType(
    name="workload",
    help="steps, throughput, loss, stragglers, checkpoints and phases, from the journals of the local ranks",
    settings=CollectorSettings,
    make=_make,
    shares_thread=True,
)
