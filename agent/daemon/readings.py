"""Takes in what a collector returned: whatever the exposition could not show is left out, with a reason."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from flyball.collectors.base import REASON_PATTERN, CollectorFailed, Sample, Unavailable
from flyball.collectors.sample_faults import fault_of

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
        fault = fault_of(sample)
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
