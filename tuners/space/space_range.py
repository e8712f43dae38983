"""Turns a range of a space file into values."""

import math
from collections.abc import Mapping
from typing import Any

from flyball.tuners.base import Value

DEFAULT_STEPS = 5
MOST_STEPS = 64
LARGEST = 2**63
"""No count, size or rate of a config reaches it."""


class RangeError(ValueError):
    """What is wrong with a range, and what to write instead."""

    def __init__(self, what: str, mend: str) -> None:
        self.mend = mend
        super().__init__(what)


def expand(given: Mapping[str, Any]) -> tuple[Value, ...]:
    """Return ``steps`` values from ``low`` to ``high``, evenly spaced, or evenly in the logarithm.

    Whole bounds give whole values; values that fall together are kept once.

    Raises:
        RangeError: a bound is missing or no number, the bounds are reversed or equal, ``log`` from 0 on.
    """
    low, high = (_number(given, key) for key in ("low", "high"))
    if low > high:
        raise RangeError(f"low {low:g} is above high {high:g}", "swap the bounds")
    if low == high:
        raise RangeError(f"the range from {low:g} to {high:g} is empty", "write a list with the one value")
    log = given.get("log", False)
    if not isinstance(log, bool):
        raise RangeError(f"log is {log!r}", "write true or false")
    if log and low <= 0:
        raise RangeError("a logarithmic range starts above 0", "raise low, or write log: false")
    whole = low.is_integer() and high.is_integer()
    steps = _steps(given, low, high, whole and not log)
    points = [_between(low, high, index / (steps - 1), log) for index in range(steps)]
    return tuple(sorted({round(point) if whole else float(f"{point:.6g}") for point in points}))


def _between(low: float, high: float, part: float, log: bool) -> float:
    if log:
        return math.exp(math.log(low) + part * (math.log(high) - math.log(low)))
    return low + part * (high - low)


def _number(given: Mapping[str, Any], key: str) -> float:
    value = given.get(key)
    if value is None:
        raise RangeError(f"the range has no {key}", "write low and high")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise RangeError(f"{key} {value!r} is not a number", "write a number")
    if abs(value) >= LARGEST:
        raise RangeError(f"{key} {str(value)[:20]}... is too large", "write a bound below 2**63")
    return float(value)


def _steps(given: Mapping[str, Any], low: float, high: float, few: bool) -> int:
    steps = given.get("steps")
    if steps is None:
        return min(DEFAULT_STEPS, int(high - low) + 1) if few else DEFAULT_STEPS
    if isinstance(steps, bool) or not isinstance(steps, int) or not 2 <= steps <= MOST_STEPS:
        raise RangeError(
            f"steps {steps!r} is not a whole number from 2 to {MOST_STEPS}", "write for example 5"
        )
    return steps
