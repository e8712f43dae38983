"""Durations as people write them: ``90s``, ``10m``, ``1h30m``."""

import re

from flyball.errors import OptionError

_UNIT_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST_SECONDS = 366 * 86400
_WRITTEN = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s)?"
)


def parse_duration(text: str, *, where: str) -> float:
    """Return the seconds that ``text`` stands for, always above zero.

    Raises:
        OptionError: it is not a duration, has no unit, or is zero; ``where`` is the option.
    """
    match = _WRITTEN.fullmatch("".join(text.split()).lower())
    mend = "write a number with its unit, as in 90s, 10m or 1h30m"
    if match is None or not match.group():
        raise OptionError(f"'{text}' is not a duration", where=where, mend=mend)
    seconds = sum(float(part) * _UNIT_SECONDS[unit] for unit, part in match.groupdict().items() if part)
    if seconds > _LONGEST_SECONDS:
        raise OptionError(f"'{text[:20]}' is longer than a year", where=where, mend=mend)
    if seconds <= 0:
        raise OptionError(f"'{text}' is no time at all", where=where, mend=mend)
    return seconds


def format_duration(seconds: float) -> str:
    """Return ``seconds`` for people: ``8s``, ``4m07s``, ``1h02m``, ``3d04h``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"
