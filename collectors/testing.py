"""Checks that every collector passes, for the tests of whoever writes one: they need pytest no more than us.

Write a :class:`Bench` for the collector and run each of ``CHECKS`` on a fresh one; docs/adding_a_collector.md
shows it.
"""

import math
from collections.abc import Callable, Iterable
from typing import Protocol

from flyball.collectors.base import REASON_PATTERN, Collector, CollectorFailed, Sample, Unavailable
from flyball.collectors.registry import CollectorType
from flyball.collectors.sample_faults import fault_of

COLLECTIONS = 5
"""Within so many a collector has noticed what happened to its source."""

Series = tuple[str, tuple[str, ...]]
"""A metric's name and the values of its labels."""


class NotConforming(AssertionError):
    """A collector does not keep to its contract."""


class Bench(Protocol):
    """A collector with a source that the test holds in its hands; healthy when it is made."""

    @property
    def kind(self) -> CollectorType:
        """What is registered."""
        ...

    @property
    def collector(self) -> Collector:
        """One on that source; always the same."""
        ...

    def advance(self, seconds: float) -> None:
        """Let time pass on the collector's clock."""
        ...

    def break_source(self) -> None:
        """Let the source fail: it is gone, denied, or says what cannot be read."""
        ...

    def mend_source(self) -> None:
        """Let it be as before."""
        ...


def check_samples(samples: Iterable[object]) -> tuple[Sample, ...]:
    """One collection: what is declared, finite or Unavailable with a reason, and no series twice.

    Raises:
        NotConforming: the first fault.
    """
    seen: set[Series] = set()
    kept: list[Sample] = []
    for sample in samples:
        fault = fault_of(sample)
        _require(fault is None, fault or "")
        assert isinstance(sample, Sample)
        series = (sample.metric.name, sample.labels)
        _require(series not in seen, f"{series} stands twice")
        _require(math.isfinite(sample.time), f"{series} is of time {sample.time}")
        if isinstance(sample.value, Unavailable):
            _check_reason(sample.value.reason)
        seen.add(series)
        kept.append(sample)
    return tuple(kept)


def check_start(bench: Bench) -> None:
    """It is what was registered, and reads a healthy source. Raises NotConforming."""
    collector, name = bench.collector, bench.kind.name
    _require(collector.name == name, f"it calls itself {collector.name}, the type {name}")
    interval = collector.interval_seconds
    _require(math.isfinite(interval) and interval > 0, f"its interval is {interval} s")
    _require(bool(_healthy(bench)), "it gives nothing of a healthy source")


def check_failure(bench: Bench) -> None:
    """A source that fails becomes CollectorFailed or a reason, and no old value. Raises NotConforming."""
    before = _healthy(bench)
    bench.break_source()
    left = before
    for _ in range(COLLECTIONS):
        left = before & _known(_collect(bench))
    _require(left < before, "it gives of a broken source what it gave of a whole one")


def check_recovery(bench: Bench) -> None:
    """A mended source is read again by the same collector. Raises NotConforming."""
    before = _healthy(bench)
    bench.break_source()
    for _ in range(COLLECTIONS):
        _collect(bench)
    bench.mend_source()
    missing = before
    for _ in range(COLLECTIONS):
        missing = before - _known(_collect(bench))
    _require(not missing, f"after the mend it does not give {sorted(missing)}")


def check_close(bench: Bench) -> None:
    """It can be closed at any time, twice, and be used after that. Raises NotConforming."""
    _close(bench)
    _healthy(bench)
    _close(bench)
    _close(bench)
    _collect(bench)
    bench.break_source()
    _collect(bench)
    _close(bench)
    _close(bench)


CHECKS: tuple[Callable[[Bench], None], ...] = (check_start, check_failure, check_recovery, check_close)
"""All of them; each takes a bench of its own."""


def _healthy(bench: Bench) -> set[Series]:
    known: set[Series] = set()
    for _ in range(COLLECTIONS):
        known = _known(_collect(bench, may_fail=False))
    return known


def _collect(bench: Bench, *, may_fail: bool = True) -> tuple[Sample, ...]:
    bench.advance(bench.collector.interval_seconds)
    try:
        return check_samples(bench.collector.collect())
    except CollectorFailed as failed:
        _require(may_fail, f"it fails on a healthy source: {failed}")
        _check_reason(failed.reason)
        return ()
    except NotConforming:
        raise
    except Exception as error:
        raise NotConforming(f"collect raised {type(error).__name__}: {error}") from error


def _close(bench: Bench) -> None:
    try:
        bench.collector.close()
    except Exception as error:
        raise NotConforming(f"close raised {type(error).__name__}: {error}") from error


def _known(samples: Iterable[Sample]) -> set[Series]:
    return {(each.metric.name, each.labels) for each in samples if not isinstance(each.value, Unavailable)}


def _check_reason(reason: str) -> None:
    _require(REASON_PATTERN.fullmatch(reason) is not None, f"{reason!r} is no reason in snake case")


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise NotConforming(fault)
