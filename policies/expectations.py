"""What a file that tests policies asks for: series in, alerts out."""

from collections.abc import Mapping
from dataclasses import dataclass

from flyball.policies.replay import PlayedSeries
from flyball.policies.rule import Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedAlert:
    """One alert that must be firing."""

    labels: Mapping[str, str]
    """All of them."""
    annotations: Mapping[str, str] | None
    """All of them; None where any will do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """Which alerts must be firing at one time, and no others."""

    time: float
    """Seconds since the test's first reading."""
    alert: str
    """Of this rule; of all of them where it is empty."""
    alerts: tuple[ExpectedAlert, ...]
    place: str
    """``file:line``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """Series, and what must be firing when."""

    name: str
    series: tuple[PlayedSeries, ...]
    expectations: tuple[Expectation, ...]
    quiet_seconds: float | None
    """Nothing at all may fire until then."""
    place: str
    """``file:line``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenarios:
    """A whole file."""

    rules: tuple[Rule, ...]
    interval_seconds: float
    """From one reading, and one evaluation, to the next."""
    scenarios: tuple[Scenario, ...]
