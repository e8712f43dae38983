"""Takes in what a collector returned: whatever the exposition could not show is left out, with a reason."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeGuard

from flyball.collectors.base import REASON_PATTERN, CollectorFailed, Kind, Metric, Sample, Unavailable
from flyball.collectors.sample_faults import fault_of, value_fault

BAD_SAMPLE: Final = "bad_sample"
TOO_MANY_SERIES: Final = "too_many_series"
_MOST_REASONS = 32
_MOST = sys.float_info.max
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


class Shape:
    """The series of a collector's last reading that was free of faults, in its order.

    Nearly every reading gives the same ones again: of these only the values need be checked.
    """

    def __init__(self) -> None:
        self._series: list[tuple[Metric, tuple[str, ...], float]] = []
        """With the least value that is no fault, if it is finite."""

    def learn(self, samples: Sequence[object]) -> None:
        """All of these are without fault."""
        sound = [each for each in samples if isinstance(each, Sample)]
        self._series = [(each.metric, each.labels, _least(each.metric)) for each in sound]
        if len({(id(metric), labels) for metric, labels, _ in self._series}) < len(samples):
            self._series = []  # of what is twice unavailable, both may be there the next time

    def fits(self, samples: Sequence[object]) -> TypeGuard[Sequence[Sample]]:
        """Whether they are of these series again, and without fault."""
        if not self._series or len(samples) != len(self._series):
            return False
        for sample, (metric, labels, least) in zip(samples, self._series, strict=True):
            if type(sample) is not Sample or sample.metric is not metric or sample.labels != labels:
                return False
            value = sample.value
            if type(value) is float and least <= value <= _MOST:
                continue
            if not isinstance(value, Unavailable) and value_fault(metric, value) is not None:
                return False
        return True


def _least(metric: Metric) -> float:
    return 0.0 if metric.kind is Kind.COUNTER else -_MOST


def take(
    samples: Iterable[object],
    *,
    max_series: int,
    elapsed: Callable[[], float],
    shape: Shape | None = None,
) -> Reading:
    """Check everything that a collector returned.

    Args:
        samples: what it returned.
        max_series: the most that it may give.
        elapsed: how long the collection took, in seconds; asked once it is over.
        shape: kept from one reading of the collector to the next.

    Raises:
        CollectorFailed: there are more than ``max_series``; an endless iterable is not read to its end.
    """
    found = list(islice(samples, max_series + 1))
    if len(found) > max_series:
        raise CollectorFailed(TOO_MANY_SERIES, f"more than {max_series} series")
    kept: Sequence[Sample]
    missing: list[Sample]
    if shape is not None and shape.fits(found):
        missing = [each for each in found if type(each.value) is Unavailable]
        kept = [each for each in found if type(each.value) is not Unavailable] if missing else found
        reasons: dict[str, Unavailable] = {}
        for each in missing:
            assert isinstance(each.value, Unavailable)
            _note(reasons, each.value)
    else:
        kept, missing, reasons = _checked(found)
        if shape is not None and len(kept) + len(missing) == len(found):
            shape.learn(found)
    return Reading(
        samples=tuple(kept),
        missing=tuple(missing),
        unavailable=tuple(reasons.values()),
        duration_seconds=elapsed(),
    )


def _checked(samples: Iterable[object]) -> tuple[list[Sample], list[Sample], dict[str, Unavailable]]:
    """What can be exported, what is missing, and why, by reason."""
    kept: dict[tuple[int, tuple[str, ...]], Sample] = {}
    missing: list[Sample] = []
    reasons: dict[str, Unavailable] = {}
    for sample in samples:
        fault = fault_of(sample)
        if fault is None and isinstance(sample, Sample):
            key = (id(sample.metric), sample.labels)
            if key in kept:
                fault = f"{sample.metric.name}{list(sample.labels)} stands twice"
            elif isinstance(sample.value, Unavailable):
                missing.append(sample)
                _note(reasons, sample.value)
            else:
                kept[key] = sample
        if fault is not None:
            _note(reasons, Unavailable(reason=BAD_SAMPLE, detail=fault))
    return list(kept.values()), missing, reasons


def _note(reasons: dict[str, Unavailable], why: Unavailable) -> None:
    reason = known_reason(why.reason)
    if reason not in reasons and len(reasons) < _MOST_REASONS:
        reasons[reason] = Unavailable(reason=reason, detail=short(why.detail))
