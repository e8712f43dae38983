"""Samples as lines of Prometheus' text format or of OpenMetrics: what the client library writes of the same.

The library makes several objects of each sample before it writes a line, and OpenMetrics' names letter by
letter: a scrape would take as long as several seconds of collections.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import accumulate

from prometheus_client.utils import floatToGoString

from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable

_number: Callable[[float], str] = floatToGoString


def family_lines(metric: Metric, series: Iterable[Sample], *, open_metrics: bool) -> Iterator[str]:
    """Yield the lines of one metric, each with its end; no two samples are of one series."""
    yield _header(metric, open_metrics=open_metrics)
    if metric.kind is Kind.HISTOGRAM:
        for sample in series:
            yield from _histogram(metric, sample)
        return
    name, text = metric.full_name, _label_text(metric.labels)
    for sample in series:
        assert not isinstance(sample.value, Distribution | Unavailable)
        yield f"{name}{text(sample.labels)} {_number(sample.value)}\n"


@cache
def _header(metric: Metric, *, open_metrics: bool) -> str:
    name, help_text = metric.full_name, metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if not open_metrics:
        return f"# HELP {name} {help_text}\n# TYPE {name} {metric.kind}\n"
    if metric.kind is Kind.COUNTER:
        name = name.removesuffix("_total")
    quoted = help_text.replace('"', r"\"")
    unit = f"# UNIT {name} {metric.unit}\n" if metric.unit and name.endswith(f"_{metric.unit}") else ""
    return f"# HELP {name} {quoted}\n# TYPE {name} {metric.kind}\n{unit}"


def _histogram(metric: Metric, sample: Sample) -> Iterator[str]:
    value, name = sample.value, metric.full_name
    assert isinstance(value, Distribution)
    bounds = [*(repr(float(bound)) for bound in metric.bounds), "+Inf"]
    text = _label_text((*metric.labels, "le"))
    total = 0
    for bound, total in zip(bounds, accumulate(value.counts), strict=True):
        yield f"{name}_bucket{text((*sample.labels, bound))} {_number(total)}\n"
    labels = _label_text(metric.labels)(sample.labels)
    yield f"{name}_count{labels} {_number(total)}\n"
    yield f"{name}_sum{labels} {_number(value.sum)}\n"


@cache
def _label_text(names: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """Write values of labels of these names, by name, in braces; nothing where there are no labels."""
    if not names:
        return lambda _: ""
    places = sorted(range(len(names)), key=lambda place: names[place])
    form = "{{" + ",".join(f'{names[place]}="{{{place}}}"' for place in places) + "}}"

    def text(values: Sequence[str]) -> str:
        whole = "".join(values)
        if '"' in whole or "\\" in whole or "\n" in whole:
            values = [each.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"") for each in values]
        return form.format(*values)

    return text
