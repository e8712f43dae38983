"""The scrape page in both formats, as the client libraries' own parsers read it."""

import gzip
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from prometheus_client.exposition import generate_latest as write_text
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest as write_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from flyball.agent.daemon.exposition import Page, process_registry, render
from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Kind, Metric, Sample

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


@dataclass(frozen=True)
class Taken:
    samples: tuple[Sample, ...]


def sample(metric: Metric, value: float | Distribution, host: str = "h") -> Sample:
    return Sample(metric=metric, labels=(host,) * len(metric.labels), value=value, time=0.0)


def everything() -> tuple[Sample, ...]:
    return tuple(
        sample(
            metric,
            Distribution(counts=(1,) * (len(metric.bounds) + 1), sum=2.5)
            if metric.kind is Kind.HISTOGRAM
            else 1.0,
        )
        for metric in catalog.METRICS.values()
    )


def page(*samples: Sample) -> Page:
    return Page([Taken(samples)], (), process_registry())


@pytest.mark.parametrize(
    ("accept", "parse"), [("", parse_text), ("text/plain", parse_text), (OPENMETRICS, parse_openmetrics)]
)
def test_every_metric_of_the_catalog_can_be_read_back(accept: str, parse: object) -> None:
    body, headers = render(page(*everything()), accept=accept, accept_encoding="")
    families = {family.name: family for family in parse(body.decode())}  # type: ignore[operator]
    for metric in catalog.METRICS.values():
        name = metric.full_name.removesuffix("_total") if metric.kind is Kind.COUNTER else metric.full_name
        assert families[name].type == metric.kind.value
        assert families[name].documentation == metric.help
        assert set(metric.labels) <= set(families[name].samples[0].labels)
    assert "process_resident_memory_bytes" in families
    assert headers["content-type"].startswith(accept.partition(";")[0] or "text/plain")


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("application/openmetrics-text;version=one", "text/plain; version=0.0.4"),
        ("text/plain;version=zero", "text/plain; version=0.0.4"),
        ("application/openmetrics-text;version=2.0.0", "application/openmetrics-text; version="),
        (";;;", "text/plain; version=0.0.4"),
    ],
)
def test_an_unreadable_version_gets_text_and_a_future_one_what_is_written(
    accept: str, content_type: str
) -> None:
    body, headers = render(page(*everything()), accept=accept, accept_encoding="")
    assert headers["content-type"].startswith(content_type)
    assert "version=2" not in headers["content-type"]
    parse = parse_openmetrics if "openmetrics" in headers["content-type"] else parse_text
    assert "flyball_host_load1" in {family.name for family in parse(body.decode())}


def test_a_histogram_is_cumulative_and_ends_in_infinity() -> None:
    bounds = len(catalog.STEP_SECONDS.bounds)
    value = Distribution(counts=(2, 3, *(0,) * (bounds - 2), 4), sum=99.5)
    body, _ = render(page(sample(catalog.STEP_SECONDS, value)), accept="", accept_encoding="")
    family = next(one for one in parse_text(body.decode()) if one.name == "flyball_step_seconds")
    found = {(one.name.rpartition("_")[2], one.labels.get("le")): one.value for one in family.samples}
    assert found["bucket", "0.005"] == 2
    assert found["bucket", "0.01"] == 5
    assert found["bucket", "300.0"] == 5
    assert found["bucket", "+Inf"] == 9
    assert (found["count", None], found["sum", None]) == (9, 99.5)


def test_one_series_of_two_collectors_stands_once() -> None:
    first, second = sample(catalog.HOST_LOAD, 1.0), sample(catalog.HOST_LOAD, 2.0)
    both = Page([Taken((first,)), Taken((second,))], (), process_registry())
    body, _ = render(both, accept="", accept_encoding="")
    assert [line for line in body.decode().splitlines() if line.startswith("flyball_host_load1")] == [
        'flyball_host_load1{host="h"} 1.0'
    ]


@pytest.mark.parametrize(
    ("asked", "packed"),
    [
        ("gzip, deflate", True),
        ("br;q=1.0, gzip;q=0.5", True),
        ("", False),
        ("gzip;q=0", False),
        ("br", False),
    ],
)
def test_gzip_only_where_it_is_taken(asked: str, packed: bool) -> None:
    body, headers = render(page(*everything()), accept="", accept_encoding=asked)
    assert (headers.get("content-encoding") == "gzip") is packed
    assert b"flyball_host_load1" in (gzip.decompress(body) if packed else body)


def test_hostile_label_values_stay_inside_their_quotes() -> None:
    body, _ = render(page(sample(catalog.HOST_LOAD, 1.0, 'a"} 7\nevil 1\\')), accept="", accept_encoding="")
    family = next(one for one in parse_text(body.decode()) if one.name == "flyball_host_load1")
    assert family.samples[0].labels == {"host": 'a"} 7\nevil 1\\'}
    assert not any(line.startswith("evil") for line in body.decode().splitlines())


class _Parsed:
    """A page as it was read, as a source of the client library."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = list(families)

    def collect(self) -> list[Family]:
        return self._families


@pytest.mark.parametrize(
    ("accept", "parse", "write"),
    [("", parse_text, write_text), (OPENMETRICS, parse_openmetrics, write_openmetrics)],
)
def test_the_page_is_what_the_client_library_writes(
    accept: str, parse: Callable[[str], Iterable[Family]], write: Callable[[object], bytes]
) -> None:
    odd = [1e6, 123456789.5, 1e21, 1e-7, 0.0, -0.0, -2.5e9, math.inf, -math.inf]
    values = [sample(catalog.LOSS, value, str(place)) for place, value in enumerate(odd)]
    labels = [sample(catalog.HOST_LOAD, 1.0, text) for text in ('a"b', "a\\b", "a\nb", "", "\u00e9{}", "{0}")]
    shown = page(*everything(), *values, *labels)
    body, _ = render(shown, accept=accept, accept_encoding="")
    ours = [line for line in body.decode().split("\n") if "process_" not in line]
    again = [
        line for line in write(_Parsed(parse(body.decode()))).decode().split("\n") if "process_" not in line
    ]
    assert len(ours) > 300
    assert ours == again
