"""Takes in what a collector returned: whatever the exposition could not show is left out, with a reason."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

from flyball.collectors import catalog
from flyball.collectors.base import (
    REASON_PATTERN,
    CollectorFailed,
    Distribution,
    Kind,
    Metric,
    Sample,
    Unavailable,
)

BAD_SAMPLE: Final = "bad_sample"
TOO_MANY_SERIES: Final = "too_many_series"
_MOST_REASONS = 32
_LONGEST_DETAIL = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One whole collection."""

    samples: tuple[Sample, ...]
    """Only values that can be exported."""
    missing: tuple[Sample, ...]
    """Those whose value is an Unavailable."""
    unavailable: tuple[Unavailable, ...]
    """One for each reason, with its first detail; what was left out counts as ``bad_sample``."""
    duration_seconds: float


def known_reason(reason: object) -> str:
    """The reason if it can be a label's value, else ``failed``: a source's own words are its detail."""
    return reason if isinstance(reason, str) and REASON_PATTERN.fullmatch(reason) else "failed"


def short(detail: object) -> str:
    """The detail on one line, shortened to what a log line may hold."""
    return " ".join(str(detail).split())[:_LONGEST_DETAIL]


def take(samples: Iterable[object], *, max_series: int, elapsed: Callable[[], float]) -> Reading:
    """Check everything that a collector returned.

    Raises:
        CollectorFailed: there are more than ``max_series``; an endless iterable is not read to its end.
    """
    kept: dict[tuple[int, tuple[str, ...]], Sample] = {}
    missing: list[Sample] = []
    reasons: dict[str, Unavailable] = {}
    for count, sample in enumerate(samples, start=1):
        if count > max_series:
            raise CollectorFailed(TOO_MANY_SERIES, f"more than {max_series} series")
        fault = _fault(sample)
        if fault is None and isinstance(sample, Sample):
            key = (id(sample.metric), sample.labels)
            if key in kept:
                fault = f"{sample.metric.name}{list(sample.labels)} stands twice"
            elif isinstance(sample.value, Unavailable):
                missing.append(sample)
                _note(reasons, known_reason(sample.value.reason), sample.value.detail)
            else:
                kept[key] = sample
        if fault is not None:
            _note(reasons, BAD_SAMPLE, fault)
    return Reading(
        samples=tuple(kept.values()),
        missing=tuple(missing),
        unavailable=tuple(reasons.values()),
        duration_seconds=elapsed(),
    )


def _note(reasons: dict[str, Unavailable], reason: str, detail: str) -> None:
    if reason not in reasons and len(reasons) < _MOST_REASONS:
        reasons[reason] = Unavailable(reason=reason, detail=short(detail))


def _fault(sample: Any) -> str | None:
    if not isinstance(sample, Sample):
        return f"{type(sample).__name__} is no Sample"
    metric = sample.metric
    if not isinstance(metric, Metric) or catalog.METRICS.get(metric.name) is not metric:
        return f"{getattr(metric, 'name', metric)} is not declared in the catalog"
    if len(sample.labels) != len(metric.labels) or not all(isinstance(item, str) for item in sample.labels):
        return f"{metric.name}: {len(sample.labels)} labels for {len(metric.labels)}, or one that is no text"
    return None if isinstance(sample.value, Unavailable) else _value_fault(metric, sample.value)


def _value_fault(metric: Metric, value: Any) -> str | None:
    if metric.kind is Kind.HISTOGRAM:
        whole = isinstance(value, Distribution) and len(value.counts) == len(metric.bounds) + 1
        return None if whole and math.isfinite(value.sum) else f"{metric.name}: no whole histogram"
    if not isinstance(value, int | float):
        return f"{metric.name}: {type(value).__name__} is no number"
    if metric.finite and not math.isfinite(value):
        return f"{metric.name}: {value} is not finite"
    return f"{metric.name}: {value} counts below 0" if metric.kind is Kind.COUNTER and value < 0 else None
