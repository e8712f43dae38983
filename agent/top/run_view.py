"""Runs and ranks from journals and samples."""

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from flyball.agent.rank_facts import RankFacts, silence_limit
from flyball.agent.top.reasons import Reasons
from flyball.agent.top.view import RankView, RunView, Unwatched
from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Metric, Sample, Unavailable
from flyball.collectors.unprobed import NOT_PROBED

FINISHED = "finished"
_RANKS = ("rank", "src", "dst")
_PID = "pid-"
_Key = tuple[str, int]


def run_views(ranks: Sequence[RankFacts], samples: Sequence[Sample], reasons: Reasons) -> tuple[RunView, ...]:
    """All runs, the living first, and why something of them is not known."""
    known = _Known(samples)
    runs: dict[str, list[RankFacts]] = {}
    for rank in ranks:
        runs.setdefault(rank.run, []).append(rank)
    views = [_run(name, own, known, reasons) for name, own in runs.items()]
    return tuple(sorted(views, key=lambda run: (run.phase == FINISHED, run.name)))


def unwatched(samples: Iterable[Sample]) -> tuple[Unwatched, ...]:
    """The processes that train without the probe."""
    named = (
        sample
        for sample in samples
        if sample.metric is catalog.RUN_INFO and sample.label("reason") == NOT_PROBED
    )
    return tuple(
        Unwatched(pid=int(pid), rank=sample.label("rank"), gpu=sample.label("gpu"))
        for sample in named
        if (pid := sample.label("run").removeprefix(_PID)).isdecimal()
    )


def quantile(distribution: Distribution, bounds: Sequence[float], ratio: float) -> float | None:
    """A quantile of a histogram, linear within its bucket as in Prometheus; None of an empty one.

    What lies above all bounds counts as the greatest of them.
    """
    wanted = ratio * distribution.count
    if not distribution.count:
        return None
    for place, total in enumerate(accumulate(distribution.counts)):
        if total >= wanted and distribution.counts[place]:
            if place == len(bounds):
                break
            low, inside = bounds[place - 1] if place else 0.0, distribution.counts[place]
            return low + (bounds[place] - low) * (wanted - (total - inside)) / inside
    return bounds[-1]


class _Known:
    """Samples of the ranks, by run and rank."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._values: dict[tuple[Metric, str, int], float | Unavailable] = {}
        self.gpus: dict[_Key, str] = {}
        self._links: dict[_Key, dict[str, dict[str, list[Distribution]]]] = {}
        for sample in samples:
            # An agent of another version may say anything.
            if all(sample.label(name).isdecimal() for name in _RANKS if name in sample.metric.labels):
                self._take(sample)

    def _take(self, sample: Sample) -> None:
        if sample.metric is catalog.P2P_LATENCY and isinstance(sample.value, Distribution):
            self._link(sample, sample.value)
        elif sample.metric is catalog.RUN_INFO:
            self.gpus[sample.label("run"), int(sample.label("rank"))] = sample.label("gpu")
        elif sample.metric is catalog.ALLOCATOR_FRAGMENTATION and sample.label("method") != "peak":
            return
        elif sample.metric.labels[:2] == catalog.RUN_LABELS and not isinstance(sample.value, Distribution):
            self._values[sample.metric, sample.label("run"), int(sample.label("rank"))] = sample.value

    def _link(self, sample: Sample, value: Distribution) -> None:
        for end in {sample.label("src"), sample.label("dst")}:
            sources = self._links.setdefault((sample.label("run"), int(end)), {})
            sizes = sources.setdefault(sample.label("source"), {})
            sizes.setdefault(sample.label("size_class"), []).append(value)

    def value(self, metric: Metric, rank: RankFacts) -> float | Unavailable | None:
        return self._values.get((metric, rank.run, rank.rank))

    def p2p(self, rank: RankFacts) -> dict[str, float]:
        found = {}
        for source, sizes in self._links.get((rank.run, rank.rank), {}).items():
            smallest = next((sizes[size] for size in catalog.SIZE_CLASSES if size in sizes), [])
            p50 = quantile(_merged(smallest), catalog.P2P_LATENCY.bounds, 0.5)
            if p50 is not None:
                found[source] = p50
        return found


def _merged(distributions: Sequence[Distribution]) -> Distribution:
    counts = tuple(map(sum, zip(*(each.counts for each in distributions), strict=True)))
    return Distribution(counts=counts, sum=sum(each.sum for each in distributions))


def _run(name: str, ranks: list[RankFacts], known: _Known, reasons: Reasons) -> RunView:
    living = [rank for rank in ranks if rank.phase != FINISHED]
    shown = living or ranks
    phase = Counter(rank.phase for rank in shown).most_common(1)[0][0]
    steps = _rates(name, living, reasons) if phase == "stepping" else (None, None, None)
    losses = [rank.loss for rank in ranks if rank.loss is not None]
    views = [_rank(rank, known, reasons) for rank in ranks]
    outcomes = Counter(rank.outcome for rank in ranks if rank.outcome)
    if not losses and any(rank.step for rank in living):
        reasons.note("no_loss_seen", what="loss", where=name, detail="engine.backward was given none")
    return RunView(
        name=name,
        phase=phase,
        phase_seconds=_phase_seconds(shown, phase),
        outcome="" if living else _worst(outcomes),
        world_size=max(rank.world_size for rank in ranks),
        step=min(rank.step for rank in shown),
        steps_per_second=steps[0],
        samples_per_second=steps[1],
        tokens_per_second=steps[2],
        loss=statistics.fmean(losses) if losses else None,
        last_checkpoint_step=max(
            (rank.last_checkpoint_step for rank in ranks if rank.last_checkpoint_step is not None),
            default=None,
        ),
        ranks=tuple(sorted(views, key=lambda rank: rank.rank)),
    )


def _phase_seconds(ranks: Iterable[RankFacts], phase: str) -> float:
    """Of what has ended, since the last rank ended; else since the first rank came into the phase."""
    seconds = [rank.phase_seconds for rank in ranks if rank.phase == phase]
    return min(seconds) if phase == FINISHED else max(seconds)


def _worst(outcomes: Mapping[str, int]) -> str:
    faults = [outcome for outcome in ("out_of_memory", "exception", "gone") if outcome in outcomes]
    return next(iter(faults or outcomes), "")


def _rates(
    name: str, ranks: Sequence[RankFacts], reasons: Reasons
) -> tuple[float | None, float | None, float | None]:
    """Steps, samples and tokens per second of the whole run; none of them when a rank has gone silent."""
    silent = [rank for rank in ranks if _is_silent(rank)]
    if silent:
        longest = max(silent, key=lambda rank: rank.silent_seconds or 0.0)
        detail = f"rank {longest.rank} made its last step {longest.silent_seconds:.0f} s ago"
        reasons.note("no_recent_step", what="rates", where=name, detail=detail)
        return None, None, None
    steps = min((rank.steps_per_second for rank in ranks if rank.steps_per_second), default=None)
    samples = _of_all(ranks, steps, [rank.samples_per_second for rank in ranks])
    tokens = _of_all(ranks, steps, [rank.tokens_per_second for rank in ranks])
    if samples is None:
        detail = "no batch was seen entering the engine's forward"
        reasons.note("not_counted", what="samples/s", where=name, detail=detail)
    return steps, samples, tokens


def _is_silent(rank: RankFacts) -> bool:
    if rank.silent_seconds is None or rank.step_seconds is None or rank.phase != "stepping":
        return False
    return rank.silent_seconds > silence_limit((rank.step_seconds,))


def _of_all(
    ranks: Sequence[RankFacts], steps_per_second: float | None, rates: Sequence[float | None]
) -> float | None:
    """Of all replicas at the pace of the slowest rank; those elsewhere are taken to be fed as those here.

    A stage in the middle of a pipeline is fed nothing that can be counted: it is left out of the mean.
    """
    a_step = [
        rate / rank.steps_per_second
        for rank, rate in zip(ranks, rates, strict=True)
        if rate is not None and rank.steps_per_second
    ]
    replicas = max((rank.data_parallel_size for rank in ranks), default=0)
    if not a_step or not replicas or steps_per_second is None:
        return None
    return statistics.fmean(a_step) * replicas * steps_per_second


def _rank(rank: RankFacts, known: _Known, reasons: Reasons) -> RankView:
    numbers: dict[str, float | None] = {}
    for field, metric in (
        ("reserved_bytes", catalog.ALLOCATOR_RESERVED),
        ("fragmentation_peak_ratio", catalog.ALLOCATOR_FRAGMENTATION),
    ):
        found = known.value(metric, rank)
        numbers[field] = None if isinstance(found, Unavailable) else found
        if isinstance(found, Unavailable):
            reasons.note(found.reason, what="reserved, frag", where=rank.run, detail=found.detail)
    straggler = known.value(catalog.STRAGGLER, rank)
    view = RankView(
        rank=rank.rank,
        gpu=known.gpus.get((rank.run, rank.rank), ""),
        phase=rank.phase,
        step=rank.step,
        step_seconds=rank.step_seconds,
        straggler_ratio=None if isinstance(straggler, Unavailable) else straggler,
        p2p_p50_seconds=known.p2p(rank),
        **numbers,
    )
    if rank.phase != FINISHED:
        _note_untold(rank, view, known, reasons)
    return view


def _note_untold(rank: RankFacts, view: RankView, known: _Known, reasons: Reasons) -> None:
    alone = "a run with one rank has nobody to compare with or to send to"
    silent = known.value(catalog.STEP_SECONDS, rank)
    if isinstance(silent, Unavailable):
        reasons.note(silent.reason, what="steps", where=rank.run, detail=silent.detail)
    if rank.step_seconds is None:
        reasons.note("no_step_yet", what="step s", where=rank.run, detail="the first is awaited")
        return
    if view.reserved_bytes is None and not isinstance(
        known.value(catalog.ALLOCATOR_RESERVED, rank), Unavailable
    ):
        reasons.note("not_read", what="reserved, frag", where=rank.run)
    if rank.world_size == 1:
        reasons.note("one_rank", what="straggler, p2p", where=rank.run, detail=alone)
        return
    if view.straggler_ratio is None:
        detail = "no other rank of this run steps on this machine"
        reasons.note("one_rank_here", what="straggler", where=rank.run, detail=detail)
    if not view.p2p_p50_seconds:
        reasons.note("p2p_not_measured", what="p2p", where=rank.run)
