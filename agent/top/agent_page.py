"""What an agent says in ``/metrics`` and ``/api/v1``, as samples of the catalog."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from flyball.agent.daemon.api_models import CollectorAnswer, GpuAnswer
from flyball.agent.rank_facts import RankFacts
from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable

_BY_FULL_NAME: Mapping[str, Metric] = {metric.full_name: metric for metric in catalog.METRICS.values()}
_Buckets = dict[float, float]


def samples_of(page: str, *, time: float) -> Iterator[Sample]:
    """Every series of a scrape that the catalog knows; ``time`` is now, seconds since the epoch.

    Raises:
        ValueError: it is no page in Prometheus' text format.
    """
    histograms: dict[tuple[Metric, tuple[str, ...]], tuple[_Buckets, list[float]]] = {}
    for family in text_string_to_metric_families(page):
        for found in family.samples:
            metric = _BY_FULL_NAME.get(found.name)
            if metric is not None:
                labels = tuple(found.labels.get(name, "") for name in metric.labels)
                if metric.finite and not math.isfinite(found.value):
                    raise ValueError(f"{found.name}: {found.value} is not finite")
                yield Sample(metric=metric, labels=labels, value=found.value, time=time)
                continue
            base, _, part = found.name.rpartition("_")
            metric = _BY_FULL_NAME.get(base)
            if metric is None or metric.kind is not Kind.HISTOGRAM:
                continue
            labels = tuple(found.labels.get(name, "") for name in metric.labels)
            buckets, total = histograms.setdefault((metric, labels), ({}, []))
            if part == "bucket":
                buckets[float(found.labels["le"])] = found.value
            elif part == "sum":
                total.append(found.value)
    for (metric, labels), (buckets, total) in histograms.items():
        if len(buckets) == len(metric.bounds) + 1:  # else the agent has other buckets than this flyball
            value = _distribution(buckets, total)
            yield Sample(metric=metric, labels=labels, value=value, time=time)


def _distribution(buckets: _Buckets, total: Sequence[float]) -> Distribution:
    cumulative = [0, *(int(buckets[bound]) for bound in sorted(buckets))]
    counts = tuple(max(0, after - before) for before, after in pairwise(cumulative))
    return Distribution(counts=counts, sum=sum(total))


def missing_samples(
    gpus: Sequence[GpuAnswer], collectors: Sequence[CollectorAnswer], *, time: float
) -> Iterator[Sample]:
    """What the agent does not know of its GPUs; a scrape cannot say it."""
    details = {each.reason: each.detail for one in collectors for each in one.unavailable}
    for gpu in gpus:
        for found in gpu.metrics:
            metric = catalog.METRICS.get(found.metric)
            if found.value is not None or metric is None:
                continue
            of_gpu = {"host": gpu.host, "gpu": gpu.gpu, "uuid": gpu.uuid, **found.labels}
            labels = tuple(of_gpu.get(name, "") for name in metric.labels)
            value = Unavailable(reason=found.reason or "unknown", detail=details.get(found.reason, ""))
            yield Sample(metric=metric, labels=labels, value=value, time=time)


def missing_allocators(
    ranks: Iterable[RankFacts],
    samples: Iterable[Sample],
    collectors: Sequence[CollectorAnswer],
    *,
    time: float,
) -> Iterator[Sample]:
    """Ranks of which the agent has no allocator, with the reason that its collector gives."""
    why = next((each for one in collectors if one.name == "allocator" for each in one.unavailable), None)
    known = {each.labels for each in samples if each.metric is catalog.ALLOCATOR_RESERVED}
    if why is None:
        return
    value = Unavailable(reason=why.reason, detail=why.detail)
    for rank in ranks:
        labels = (rank.run, str(rank.rank))
        if labels not in known and rank.step and not rank.outcome:
            yield Sample(metric=catalog.ALLOCATOR_RESERVED, labels=labels, value=value, time=time)


def silent_sources(collectors: Sequence[CollectorAnswer]) -> Iterator[tuple[str, Unavailable]]:
    """Collectors that give nothing, and why a rank's steps may be missing."""
    for one in collectors:
        if one.state != "up":
            yield one.name, Unavailable(reason=one.reason or one.state, detail=one.detail)
        elif one.name == "workload":
            for each in one.unavailable:
                yield "steps", Unavailable(reason=each.reason, detail=each.detail)
