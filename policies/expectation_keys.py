"""The keys of files that test policies, as pydantic reads them; docs/policy_tests.md documents each."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from flyball.policies.durations import parse_duration
from flyball.policies.keys import Text, Wait

LONGEST_INTERVAL_SECONDS = 3600.0
DEFAULT_INTERVAL_SECONDS = 15.0


def _interval(value: Any) -> float:
    seconds = parse_duration(value)
    if not 0 < seconds <= LONGEST_INTERVAL_SECONDS:
        raise ValueError(f"'{value}' is no interval; write one of at most an hour, as in 15s")
    return seconds


def _values(value: Any) -> str:
    # A single number is one value, also without quotes.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileKeys(_Keys):
    """The whole file."""

    policies: list[Text] = Field(default_factory=list)
    interval: Annotated[float, BeforeValidator(_interval)] = DEFAULT_INTERVAL_SECONDS
    tests: list[Any] = Field(default_factory=list)


class ScenarioKeys(_Keys):
    """One test."""

    name: Text = ""
    series: list[Any] = Field(default_factory=list)
    alerts: list[Any] = Field(default_factory=list)
    quiet: Wait | None = None


class SeriesKeys(_Keys):
    """One series."""

    series: Text = ""
    values: Annotated[Text, BeforeValidator(_values)] = ""
    observations: Annotated[int, Field(ge=1, le=1_000_000)] = 1


class AlertsKeys(_Keys):
    """What must be firing at one time."""

    at: Wait | None = None
    alert: Text = ""
    expect: list[Any] = Field(default_factory=list)


class ExpectedKeys(_Keys):
    """One alert."""

    labels: dict[str, Text] = Field(default_factory=dict)
    annotations: dict[str, Text] | None = None
