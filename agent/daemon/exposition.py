"""Readings as Prometheus' text format or as OpenMetrics.

The formats: https://prometheus.io/docs/instrumenting/exposition_formats/ and OpenMetrics 1.0.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector as Registry

from flyball.agent.daemon.page_text import family_lines
from flyball.collectors import catalog
from flyball.collectors.base import Sample

_OPEN_METRICS = "application/openmetrics-text"
_GZIP_LEVEL = 1
_LEAST_TO_COMPRESS = 1024


class _Reading(Protocol):
    @property
    def samples(self) -> Sequence[Sample]: ...


class Page:
    """What one scrape shows; it is made of readings that no longer change."""

    def __init__(self, readings: Iterable[_Reading], own: Sequence[Sample], process: Registry) -> None:
        self._readings, self._own, self.process = tuple(readings), own, process

    def lines(self, *, open_metrics: bool) -> Iterator[str]:
        """Yield the lines of all metrics but those of the process, in the order of the catalog."""
        by_metric: dict[str, dict[tuple[str, ...], Sample]] = {}
        for samples in (*(reading.samples for reading in self._readings), self._own):
            for sample in samples:
                # Two collectors that give one series would make the whole page unreadable: the first counts.
                by_metric.setdefault(sample.metric.name, {}).setdefault(sample.labels, sample)
        for name, metric in catalog.METRICS.items():
            if name in by_metric:
                yield from family_lines(metric, by_metric[name].values(), open_metrics=open_metrics)


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
    encode, content_type = _encoder(accept)
    open_metrics = content_type.startswith(_OPEN_METRICS)
    # The library's part stands at the end, and so does OpenMetrics' mark of it.
    body = "".join(page.lines(open_metrics=open_metrics)).encode() + encode(page.process)
    headers = {"content-type": content_type, "vary": "accept, accept-encoding"}
    if len(body) >= _LEAST_TO_COMPRESS and _takes_gzip(accept_encoding):
        body = gzip.compress(body, compresslevel=_GZIP_LEVEL, mtime=0)
        headers["content-encoding"] = "gzip"
    return body, headers


def _encoder(accept: str) -> tuple[Callable[[Registry], bytes], str]:
    try:
        encode, content_type = choose_encoder(accept)
    except TypeError:  # the library compares versions before it knows that they are numbers
        return choose_encoder("")
    if content_type.startswith(f"{_OPEN_METRICS}; version=2"):  # no stable version yet, and not what we write
        return choose_encoder(_OPEN_METRICS)
    return encode, content_type


def _takes_gzip(accept_encoding: str) -> bool:
    for entry in accept_encoding.lower().split(","):
        name, _, weight = entry.partition(";")
        if name.strip() in ("gzip", "*") and weight.replace(" ", "") not in ("q=0", "q=0.0"):
            return True
    return False
