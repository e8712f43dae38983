"""Makes the answers of ``/api/v1`` from states and readings."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict

from flyball.agent.daemon.api_models import (
    CollectorAnswer,
    GpuAnswer,
    GpuMetric,
    GpuRank,
    Missing,
    RunAnswer,
)
from flyball.agent.daemon.readings import Reading
from flyball.agent.daemon.states import Up
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.watched import Watched
from flyball.agent.rank_facts import RankFacts, rank_facts
from flyball.collectors import catalog
from flyball.collectors.base import Sample, Unavailable
from flyball.collectors.run_folder import printable
from flyball.collectors.run_state import RankState

_WIDTH = len(catalog.GPU_LABELS)


def collector_answers(watched: Mapping[str, Watched], store: Store) -> tuple[CollectorAnswer, ...]:
    """All collectors by name."""
    return tuple(_collector(name, one, store.get(name)) for name, one in sorted(watched.items()))


def _collector(name: str, one: Watched, reading: Reading | None) -> CollectorAnswer:
    state = one.state
    unavailable = state.unavailable if isinstance(state, Up) else ()
    return CollectorAnswer(
        name=name,
        state=state.name,
        reason=state.reason,
        detail=state.detail,
        since=state.since,
        required=one.settings.required,
        interval_seconds=one.interval_seconds,
        duration_seconds=reading.duration_seconds if reading else None,
        series=len(reading.samples) if reading else 0,
        unavailable=tuple(Missing(reason=item.reason, detail=item.detail) for item in unavailable),
        failures=dict(one.failures),
    )


def gpu_answers(store: Store) -> tuple[GpuAnswer, ...]:
    """All GPUs with what is known of each, and the ranks that run there."""
    gpus: dict[tuple[str, ...], dict[tuple[str, ...], Sample]] = {}
    ranks: dict[str, list[GpuRank]] = {}
    readings = tuple(store)
    known = (sample for reading in readings for sample in reading.samples)
    missing = (sample for reading in readings for sample in reading.missing)
    # As on the page, the first of two collectors counts; what one knows is not missing.
    for sample in (*known, *missing):
        if sample.metric is catalog.RUN_INFO:
            if not isinstance(sample.value, Unavailable):
                ranks.setdefault(sample.label("uuid"), []).append(_rank(sample))
        elif sample.metric.labels[:_WIDTH] == catalog.GPU_LABELS:
            series = (sample.metric.name, *sample.labels[_WIDTH:])
            gpus.setdefault(sample.labels[:_WIDTH], {}).setdefault(series, sample)
    return tuple(
        GpuAnswer(
            host=key[0],
            gpu=key[1],
            uuid=key[2],
            ranks=tuple(ranks.get(key[2], ())),
            metrics=tuple(map(_gpu_metric, found.values())),
        )
        for key, found in sorted(gpus.items())
    )


def _rank(sample: Sample) -> GpuRank:
    return GpuRank(**{name: sample.label(name) for name in GpuRank.model_fields})


def _gpu_metric(sample: Sample) -> GpuMetric:
    labels = dict(zip(sample.metric.labels[_WIDTH:], sample.labels[_WIDTH:], strict=True))
    missing = sample.value if isinstance(sample.value, Unavailable) else None
    value = float(sample.value) if isinstance(sample.value, int | float) else None
    return GpuMetric(
        metric=sample.metric.name, labels=labels, value=value, reason=missing.reason if missing else ""
    )


def run_answers(ranks: Iterable[RankState], *, time: float, monotonic: float) -> tuple[RunAnswer, ...]:
    """All ranks by run and number; ``time`` and ``monotonic`` are now, on the two clocks."""
    in_order = sorted(ranks, key=lambda one: (one.run, one.rank))
    return tuple(_run(one, rank_facts(one, time=time, monotonic=monotonic)) for one in in_order)


def _run(one: RankState, facts: RankFacts) -> RunAnswer:
    known = asdict(facts)
    same = set(RunAnswer.model_fields) - known.keys() - {"folder"}
    # JSON has no NaN.
    known["loss"] = one.loss if one.loss is not None and math.isfinite(one.loss) else None
    return RunAnswer(
        **{name: getattr(one, name) for name in same}, **known, folder=printable(str(one.folder))
    )
