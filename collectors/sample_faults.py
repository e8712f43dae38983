"""Why a sample could not be exported."""

import math
from typing import Any

from flyball.collectors import catalog
from flyball.collectors.base import Distribution, Kind, Metric, Sample, Unavailable


def fault_of(sample: Any) -> str | None:
    """What is wrong with one thing that a collector returned, or None where nothing is.

    An Unavailable's reason is not looked at: the daemon calls one that is no label ``failed``.
    """
    if not isinstance(sample, Sample):
        return f"{type(sample).__name__} is no Sample"
    metric = sample.metric
    if not isinstance(metric, Metric) or catalog.METRICS.get(metric.name) is not metric:
        return f"{getattr(metric, 'name', metric)} is not declared in the catalog"
    if len(sample.labels) != len(metric.labels) or not _are_text(sample.labels):
        return f"{metric.name}: {len(sample.labels)} labels for {len(metric.labels)}, or one that is no text"
    return None if isinstance(sample.value, Unavailable) else value_fault(metric, sample.value)


def _are_text(labels: Any) -> bool:
    for label in labels:
        if type(label) is not str or not label.isascii():
            return all(map(_is_text, labels))
    return True


def _is_text(label: Any) -> bool:
    """Whether it can be written as UTF-8: half a surrogate pair, as in an escaped file name, cannot."""
    if not isinstance(label, str):
        return False
    try:
        return label.isascii() or bool(label.encode())
    except UnicodeEncodeError:
        return False


def value_fault(metric: Metric, value: Any) -> str | None:
    """What is wrong with a value of a metric that is none of a reason, or None where nothing is."""
    if metric.kind is Kind.HISTOGRAM:
        whole = isinstance(value, Distribution) and len(value.counts) == len(metric.bounds) + 1
        return None if whole and math.isfinite(value.sum) else f"{metric.name}: no whole histogram"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return f"{metric.name}: {type(value).__name__} is no number"
    if metric.finite and not math.isfinite(value):
        return f"{metric.name}: {value} is not finite"
    return f"{metric.name}: {value} counts below 0" if metric.kind is Kind.COUNTER and value < 0 else None
