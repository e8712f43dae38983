"""What a rule is: which series, what is made of them, when that is an alert, and what it then says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flyball.collectors.base import Metric


class Severity(StrEnum):
    """How soon somebody must look."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Aggregate(StrEnum):
    """What is made of a series' samples within the window.

    Of a histogram ``avg`` is the mean of what was observed within the window, ``p50``, ``p90`` and ``p99``
    are its quantiles, ``rate`` and ``increase`` count observations; it has no ``last``, ``min`` and ``max``.
    ``rate`` and ``increase`` are of counters and histograms, all else of gauges; ``last`` of a counter too.
    """

    LAST = "last"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"
    RATE = "rate"
    INCREASE = "increase"


QUANTILES: Mapping[Aggregate, float] = {Aggregate.P50: 0.5, Aggregate.P90: 0.9, Aggregate.P99: 0.99}


class Comparison(StrEnum):
    """How the value stands to the threshold; each is a key of a rule, with the threshold as its value."""

    ABOVE = "above"
    AT_LEAST = "at_least"
    BELOW = "below"
    AT_MOST = "at_most"
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    NAN = "is_nan"
    """True where the value is no number; it has no threshold."""


class Arithmetic(StrEnum):
    """What is done with two operands of the same labels; each is a key of a rule."""

    PLUS = "plus"
    MINUS = "minus"
    TIMES = "times"
    DIVIDED_BY = "divided_by"


class Match(StrEnum):
    """How a label must stand to a value (PromQL's four)."""

    EQUAL = "="
    NOT_EQUAL = "!="
    REGEX = "=~"
    NOT_REGEX = "!~"


@dataclass(frozen=True, kw_only=True, slots=True)
class Matcher:
    """One condition on a label; a regular expression must match the whole value (RE2's syntax)."""

    label: str
    match: Match
    value: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Operand:
    """Series and what is made of each."""

    metric: Metric
    matchers: tuple[Matcher, ...] = ()
    aggregate: Aggregate = Aggregate.LAST
    window_seconds: float = 0.0
    """0 for ``last`` alone."""
    offset_seconds: float = 0.0
    """The window ends so long before the evaluation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """A value for each series of ``left``; with ``right``, of those that have one of the same labels there.

    A baseline is ``left`` divided by the same series over a longer window that ends where ``left``'s begins.
    """

    left: Operand
    arithmetic: Arithmetic | None = None
    right: Operand | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """One alerting rule."""

    alert: str
    expression: Expression
    comparison: Comparison
    threshold: float = 0.0
    absent: bool = False
    """True where there is no such series at all; ``comparison`` and ``threshold`` do not count then."""
    phase: str = ""
    """Only while the rank, else GPU, else run of the series is in this phase, by ``run_info``; or empty.

    Samples from outside the phase do not count (flyball.policies.in_phase).
    """
    within_seconds: float = 0.0
    """For so long the rule remembers the phase while the run pauses; 0 where it ends with the phase."""
    for_seconds: float = 0.0
    keep_firing_for_seconds: float = 0.0
    severity: Severity = Severity.WARNING
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Templates: ``{{ labels.gpu }}``, ``{{ value }}``, and ``{{ value | percent }}`` and the like."""
    suggests: tuple[str, ...] = ()
    place: str = ""
    """``file:line`` where it stands."""
