"""The checks themselves: a collector with one fault fails the check for it, and a whole one passes all."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from tests.collectors.journal_fakes import FakeClock

from flyball.collectors import catalog
from flyball.collectors.base import CollectorFailed, Kind, Metric, Sample, Unavailable
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings
from flyball.collectors.testing import (
    CHECKS,
    NotConforming,
    check_close,
    check_failure,
    check_recovery,
    check_samples,
    check_start,
)


class Simple:
    """A collector that keeps to everything; faults are put into it."""

    name = "simple"
    interval_seconds = 1.0

    def __init__(self) -> None:
        self.broken = self.opened = False

    def collect(self) -> Iterable[Sample]:
        self.opened = True
        if self.broken:
            raise CollectorFailed("gone")
        return [load(1.0)]

    def close(self) -> None:
        self.opened = False


class SimpleBench:
    def __init__(self, collector: Any = None) -> None:
        self.collector = collector or Simple()
        self.clock = FakeClock()
        self.kind = CollectorType(name="simple", help="x", settings=CollectorSettings, make=self._make)

    def _make(self, _: Any, __: Surroundings) -> Any:
        return self.collector

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    def break_source(self) -> None:
        self.collector.broken = True

    def mend_source(self) -> None:
        self.collector.broken = False


def load(value: Any, *labels: str, time: float = 0.0) -> Sample:
    return Sample(metric=catalog.HOST_LOAD, labels=labels or ("here",), value=value, time=time)


@pytest.mark.parametrize("check", CHECKS)
def test_a_whole_one_passes(check: Callable[[Any], None]) -> None:
    check(SimpleBench())


class Renamed(Simple):
    name = "other"


class Hurried(Simple):
    interval_seconds = 0.0


class Silent(Simple):
    def collect(self) -> Iterable[Sample]:
        return []


class Crashing(Simple):
    def collect(self) -> Iterable[Sample]:
        if self.broken:
            raise OSError("gone")
        return super().collect()


class Lying(Simple):
    def collect(self) -> Iterable[Sample]:
        return [load(0.0)]


class Wordy(Simple):
    def collect(self) -> Iterable[Sample]:
        if self.broken:
            raise CollectorFailed("It is gone!")
        return super().collect()


class Unforgiving(Simple):
    failed = False

    def collect(self) -> Iterable[Sample]:
        self.failed = self.failed or self.broken
        if self.failed:
            raise CollectorFailed("gone")
        return super().collect()


class ClosedOnce(Simple):
    def close(self) -> None:
        if not self.opened:
            raise ValueError("is closed")
        super().close()


class OnceOnly(Simple):
    closed = False

    def collect(self) -> Iterable[Sample]:
        if self.closed:
            raise ValueError("is closed")
        return super().collect()

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("faulty", "check", "words"),
    [
        (Renamed, check_start, "calls itself other"),
        (Hurried, check_start, "interval"),
        (Silent, check_start, "gives nothing"),
        (Crashing, check_failure, "collect raised OSError: gone"),
        (Lying, check_failure, "of a broken source"),
        (Wordy, check_failure, "no reason in snake case"),
        (Unforgiving, check_recovery, "after the mend"),
        (ClosedOnce, check_close, "close raised ValueError"),
        (OnceOnly, check_close, "collect raised ValueError"),
    ],
)
def test_a_fault_is_found(faulty: type[Simple], check: Callable[[Any], None], words: str) -> None:
    with pytest.raises(NotConforming, match=words):
        check(SimpleBench(faulty()))


def test_a_healthy_source_must_be_read() -> None:
    collector = Simple()
    collector.broken = True
    with pytest.raises(NotConforming, match="fails on a healthy source"):
        check_start(SimpleBench(collector))


UNDECLARED = Metric(name="mine", kind=Kind.GAUGE, unit="", help="", labels=())


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ([7], "no Sample"),
        ([load(math.nan)], "not finite"),
        ([load("much")], "no number"),
        ([load(1.0, "a", "b")], "2 labels for 1"),
        ([Sample(metric=UNDECLARED, labels=(), value=1.0, time=0.0)], "not declared"),
        ([load(1.0), load(2.0)], "twice"),
        ([load(1.0), load(Unavailable(reason="gone"))], "twice"),
        ([load(Unavailable(reason="It broke"))], "no reason"),
        ([load(1.0, time=math.inf)], "of time inf"),
    ],
)
def test_a_bad_sample_is_found(samples: list[Any], words: str) -> None:
    with pytest.raises(NotConforming, match=words):
        check_samples(samples)
