"""Text of other people's making, fit for a terminal: one line, no control characters."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from flyball.tuners.objective import figure

_ROUND_FROM = 1_000_000
_LONGEST_VALUE = 120
# ECMA-48 control sequences (CSI) and operating system commands (OSC), with their parameters.
_ESCAPE_SEQUENCES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")


def clean(text: str) -> str:
    """Return ``text`` on one line, without control, bidirectional and other invisible characters."""
    plain = _ESCAPE_SEQUENCES.sub("", text)
    return " ".join("".join(_visible(character) for character in plain).split())


def _visible(character: str) -> str:
    if character.isspace():
        return " "
    # Cc: escape sequences; Cf: bidirectional overrides; Cs, Co, Cn: what a terminal cannot draw.
    return "" if unicodedata.category(character).startswith("C") else character


def shorten(text: str, width: int) -> str:
    """Return ``text``, its end replaced by ``…`` where it is longer than ``width`` characters."""
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def counted(count: int, one: str, several: str) -> str:
    """Return ``1 file``, ``2 files``."""
    return f"{count} {one if count == 1 else several}"


def describe_changes(changes: Mapping[str, Any]) -> str:
    """Return ``knob=value`` pairs for people; without any, it is the user's own configuration."""
    pairs = (f"{clean(str(knob))}={describe_value(value)}" for knob, value in changes.items())
    return " ".join(pairs) or "your own configuration"


def describe_value(value: Any) -> str:
    """Return a knob's value for people: floats to six digits, round bucket sizes as ``5e8``."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, int) and abs(value) >= _ROUND_FROM and float(f"{value:.3g}") == value:
        return f"{value:.3g}".replace("e+0", "e").replace("e+", "e")
    return shorten(clean(str(value)), _LONGEST_VALUE)


def describe_rate(samples_per_second: float | None) -> str:
    """Return a rate for people, ``-`` where it is not known."""
    if samples_per_second is None:
        return "-"
    return figure(samples_per_second)
