"""Readings as Prometheus' text format or as OpenMetrics.

The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and OpenMetrics 1.0.
"""

import gzip
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as Registry

from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable

_GZIP_LEVEL = 1
_LEAST_TO_COMPRESS = 1024


class _Reading(Protocol):
    @property
    def samples(self) -> Sequence[Sample]: ...


class Page(Registry):
    """What one scrape shows; it is made of readings that no longer change."""

    def __init__(self, readings: Iterable[_Reading], own: Sequence[Sample], process: Registry) -> None:
        self._readings, self._own, self._process = tuple(readings), own, process

    def collect(self) -> Iterator[Family]:
        """Families in the order of the catalog, then those of the process."""
        by_metric: dict[str, dict[tuple[str, ...], Sample]] = {}
        for samples in (*(reading.samples for reading in self._readings), self._own):
            for sample in samples:
                # Two collectors that give one series would make the whole page unreadable: the first counts.
                by_metric.setdefault(sample.metric.name, {}).setdefault(sample.labels, sample)
        for name, metric in catalog.METRICS.items():
            if name in by_metric:
                yield _family(metric, by_metric[name])
        yield from self._process.collect()


def process_registry() -> Registry:
    """The client library's process metrics, on a registry of their own."""
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    return registry


def render(page: Page, *, accept: str, accept_encoding: str) -> tuple[bytes, Mapping[str, str]]:
    """The page as the client asks for it.

    Args:
        page: what to show.
        accept: the request's Accept header; text unless OpenMetrics is asked for.
        accept_encoding: gzip is used where the client takes it.

    Returns:
        The body and its headers.
    """
    encode, content_type = choose_encoder(accept)
    body = encode(page)
    headers = {"content-type": content_type, "vary": "accept, accept-encoding"}
    if len(body) >= _LEAST_TO_COMPRESS and _takes_gzip(accept_encoding):
        body = gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)
        headers["content-encoding"] = "gzip"
    return body, headers


def _takes_gzip(accept_encoding: str) -> bool:
    for entry in accept_encoding.lower().split(","):
        name, _, weight = entry.partition(";")
        if name.strip() in ("gzip", "*") and weight.replace(" ", "") not in ("q=0", "q=0.0"):
            return True
    return False


def _family(metric: Metric, series: Mapping[tuple[str, ...], Sample]) -> Family:
    if metric.kind is Kind.HISTOGRAM:
        return _histogram(metric, series)
    # The client library appends a unit that the name does not end in.
    make = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    family = make(metric.full_name, metric.help, labels=metric.labels, unit=_unit(metric))
    for labels, sample in series.items():
        assert not isinstance(sample.value, Distribution | Unavailable)
        family.add_metric(labels, sample.value)
    return family


def _unit(metric: Metric) -> str:
    name = metric.name.removesuffix("_total")
    return metric.unit if metric.unit and name.endswith(f"_{metric.unit}") else ""


def _histogram(metric: Metric, series: Mapping[tuple[str, ...], Sample]) -> Family:
    family = HistogramMetricFamily(metric.full_name, metric.help, labels=metric.labels, unit=_unit(metric))
    bounds = [*(repr(float(bound)) for bound in metric.bounds), "+Inf"]
    for labels, sample in series.items():
        assert isinstance(sample.value, Distribution)
        counts = accumulate(sample.value.counts)
        family.add_metric(labels, list(zip(bounds, counts, strict=True)), sample.value.sum)
    return family
