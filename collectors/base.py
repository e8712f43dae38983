"""What every collector gives and keeps to.

A collector reads one source. Each call of ``collect`` returns the whole of what it knows now, so that a
series it leaves out is gone. What it cannot know is an ``Unavailable`` with a reason, never a zero.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from flyball.errors import FlyballError

PREFIX = "flyball_"
REASON_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,62}")


class Kind(StrEnum):
    """How a metric's values behave (Prometheus' metric types; an info metric is a gauge that is always 1)."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Metric:
    """One metric, declared once in ``collectors/catalog.py``; compared and hashed by identity."""

    name: str
    """Without the prefix; ends in its unit, a counter's in ``_total``."""
    kind: Kind
    unit: str
    """A base unit (``bytes``, ``seconds``, ``ratio``, ``celsius``), or empty for a plain number."""
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()
    """Of a histogram: upper bounds of its buckets, in the metric's unit, ascending, without infinity."""
    finite: bool = True
    """Whether a value that is not finite is a fault of the source; a loss may well be NaN."""
    least: float = 0.0
    """No value is below it: what a policy may compare with."""
    most: float = math.inf
    """No value is above it."""

    @property
    def full_name(self) -> str:
        """As Prometheus sees it."""
        return PREFIX + self.name


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """A value that cannot be known now."""

    reason: str
    """One of few, in snake case: it becomes a label (``gpm_not_supported``, ``no_permission``)."""
    detail: str = ""
    """The source's own words, for the log and the API."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """A histogram's state since it began."""

    counts: tuple[int, ...]
    """Observations by bucket, not cumulative; one more than the metric has bounds: the last is above all of
    them."""
    sum: float
    """Of all observed values, in the metric's unit."""

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)


class Sample(NamedTuple):
    """One series' value at one time; give the fields by name.

    A tuple, since a frozen dataclass takes twice as long to make, and an agent makes a hundred a second.
    """

    metric: Metric
    labels: tuple[str, ...]
    """Values, in the order of ``metric.labels``."""
    value: float | Distribution | Unavailable
    time: float
    """Seconds since the epoch, when the source said so."""

    def label(self, name: str) -> str:
        """The value of one label; KeyError where the metric has none of that name."""
        try:
            return self.labels[self.metric.labels.index(name)]
        except ValueError:
            raise KeyError(name) from None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """One reading of one source."""

    time: float
    """Seconds since the epoch."""
    samples: tuple[Sample, ...]


class CollectorFailed(FlyballError):
    """A collector could not read its source at all; nothing of what it would have returned is known.

    Args:
        reason: one of few, in snake case: it becomes a label.
        detail: the source's own words.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.detail = detail


class Collector(Protocol):
    """Reads one source. Never two calls at a time, and all from one thread.

    The thread can change where the collector's type says ``shares_thread``.
    """

    @property
    def name(self) -> str:
        """As in the settings and in ``collector_up``."""
        ...

    @property
    def interval_seconds(self) -> float:
        """From one collection to the next."""
        ...

    def collect(self) -> Iterable[Sample]:
        """Everything that is known now. Raises CollectorFailed; the next call tries anew."""
        ...

    def close(self) -> None:
        """Give back what it holds; it may be called after a failure, and more than once."""
        ...
