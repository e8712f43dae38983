"""Durations as Prometheus writes them (https://prometheus.io/docs/prometheus/latest/querying/basics/)."""

import re
from typing import Any

_UNITS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_WHOLE = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS))
_SHORT = re.compile(r"(\d+(?:\.\d+)?)(y|w|d|h|m|s|ms|us|ns)")
_MEND = "write a whole number with its unit, as in 90s, 5m or 1h30m"
_SHOWN = 30


def parse_duration(value: Any) -> float:
    """Return the seconds of ``90s``, ``5m``, ``1h30m``, ``500ms`` or ``0``; never below zero.

    Raises:
        ValueError: it is none, as ``what; mend``.
    """
    if value == 0 and not isinstance(value, bool):
        return 0.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; {_MEND}")
    text = value if isinstance(value, str) else ""
    if text.startswith("-"):
        raise ValueError(f"'{text[:_SHOWN]}' is negative; {_MEND}")
    found = _WHOLE.fullmatch(text)
    if found is None or not text.isascii() or not text:
        shown = f"'{text[:_SHOWN]}'" if isinstance(value, str) else f"a {_kind(value)}"
        raise ValueError(f"{shown} is no duration; {_MEND}")
    counts = zip(found.groups(), _UNITS.values(), strict=False)
    return sum(float(count) * seconds for count, seconds in counts if count)


def parse_short_duration(text: str) -> float | None:
    """Return the seconds of a threshold (``50us``, ``1.5ms``, ``1h30m``), or None where it is none."""
    if not text.isascii():
        return None
    if found := _SHORT.fullmatch(text):
        return float(f"{found[1]}e{_EXPONENTS[found[2]]}") if found[2] in _EXPONENTS else _seconds(found)
    try:
        return parse_duration(text)
    except ValueError:
        return None


_EXPONENTS = {"s": 0, "ms": -3, "us": -6, "ns": -9}
"""So that 50us is the very number that 50e-6 is."""


def _seconds(found: re.Match[str]) -> float:
    return float(found[1]) * _UNITS[found[2]]


def _kind(value: Any) -> str:
    return "list" if isinstance(value, list) else "mapping" if isinstance(value, dict) else "blank"
