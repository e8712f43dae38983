"""Values as people read them, exactly as Prometheus' template functions write them.

An alert then has one text, whether flyball or Prometheus raised it
(https://prometheus.io/docs/prometheus/latest/configuration/template_reference/#numbers).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")
_BINARY = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def number(value: float) -> str:
    """Four digits and a metric prefix: ``1.235M``, ``50u``."""
    if value == 0 or not math.isfinite(value):
        return _digits(value)
    if abs(value) >= 1:
        return "".join(_scaled_down(value, 1000, _LARGE))
    return "".join(_scaled_up(value))


def duration(seconds: float) -> str:
    """``1.5ms``, ``20s``, ``3m 0s``, ``1d 2h 3m 4s``."""
    if not math.isfinite(seconds):
        return _digits(seconds)
    if seconds == 0:
        return _digits(seconds) + "s"
    if abs(seconds) < 1:
        return "".join(_scaled_up(seconds)) + "s"
    sign, whole = "-" if seconds < 0 else "", int(abs(seconds))
    if whole < _MINUTE:
        return f"{sign}{_digits(abs(seconds))}s"
    parts = [
        (whole // _DAY, "d"),
        (whole // _HOUR % 24, "h"),
        (whole // _MINUTE % 60, "m"),
        (whole % 60, "s"),
    ]
    first = next(place for place, (count, _) in enumerate(parts) if count)
    return sign + " ".join(f"{count}{unit}" for count, unit in parts[first:])


def size(value: float) -> str:
    """Bytes with a binary prefix: ``1.5GiB``."""
    if abs(value) <= 1 or not math.isfinite(value):
        return _digits(value) + "B"
    return "".join(_scaled_down(value, 1024, _BINARY)) + "B"


def percent(value: float) -> str:
    """A ratio of 0.7 is ``70%``."""
    return f"{_digits(value * 100)}%"


def plain(value: float) -> str:
    """All digits that the number has, as Go prints it: ``0.25``, ``1.5e+06``."""
    if value == 0 or not math.isfinite(value):
        return _digits(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    place = len(digits) + exponent - 1
    if -4 <= place < 6:
        return f"{Decimal((sign, digits, exponent)):f}"
    first, rest = str(digits[0]), "".join(map(str, digits[1:]))
    return f"{'-' if sign else ''}{first}{rest and '.' + rest}e{place:+03d}"


FORMATS: Mapping[str, tuple[Callable[[float], str], str, str]] = {
    "percent": (percent, "humanizePercentage", ""),
    "duration": (duration, "humanizeDuration", ""),
    "bytes": (size, "humanize1024", "B"),
    "number": (number, "humanize", ""),
}
"""Filter of a template to what it does, Prometheus' function, and what stands behind that."""


def _digits(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return f"{value:.4g}"


def _scaled_down(value: float, step: int, prefixes: Sequence[str]) -> tuple[str, str]:
    prefix = ""
    for prefix_above in prefixes:
        if abs(value) < step:
            break
        prefix, value = prefix_above, value / step
    return _digits(value), prefix


def _scaled_up(value: float) -> tuple[str, str]:
    prefix = ""
    for prefix_below in _SMALL:
        if abs(value) >= 1:
            break
        prefix, value = prefix_below, value * 1000
    return _digits(value), prefix
