"""The numbers of a measurement that have columns of their own."""

from collections.abc import Mapping
from typing import Any

_SAME = (
    "tokens_per_second",
    "steps",
    "seconds",
    "step_seconds_median",
    "peak_reserved_bytes",
)


def measurement_columns(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns of a measurement: ``samples_per_second`` in it is ``{point, low, high}``."""
    rate = document["samples_per_second"]
    return {
        "samples_per_second": rate["point"],
        "samples_per_second_low": rate["low"],
        "samples_per_second_high": rate["high"],
        **{name: document.get(name) for name in _SAME},
        "document": dict(document),
    }
