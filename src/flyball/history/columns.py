"""Column types that hold the same on SQLite and PostgreSQL, whatever a workload said."""

import math
from collections.abc import Mapping
from typing import Any

from sqlalchemy import JSON, Dialect, Double, Text
from sqlalchemy.types import TypeDecorator


def plain(value: Any) -> Any:
    """Return a JSON value: mappings as dicts, sequences as lists, NaN and infinities as null.

    PostgreSQL refuses NaN in JSON, and "not available" is what a NaN means here.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class PlainJson(TypeDecorator[Any]):
    """A JSON document; see ``plain``."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Make it plain on the way in."""
        del dialect
        return plain(value)


class Number(TypeDecorator[float]):
    """A double; NaN and infinities become null, as SQLite would make of NaN and PostgreSQL would not."""

    impl = Double
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Dialect) -> float | None:
        """Make it finite on the way in."""
        del dialect
        return None if value is None or not math.isfinite(value) else float(value)


class Words(TypeDecorator[str]):
    """Text; what cannot be stored (NUL in PostgreSQL, lone surrogates in UTF-8) is replaced by U+FFFD."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Make it storable on the way in."""
        del dialect
        return None if value is None else storable(value)


def storable(text: str) -> str:
    """Return a text with U+FFFD for each character that a database cannot hold."""
    return "".join("\ufffd" if each == "\0" or "\ud800" <= each <= "\udfff" else each for each in text)
