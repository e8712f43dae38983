"""Fields of a journal's record, checked: whoever may write into a folder may have written them."""

import math
from collections.abc import Mapping
from typing import Any

MOST_COUNT = 2**53
"""Above it a float, which is what Prometheus stores, is no longer exact."""


class WrongField(ValueError):
    """A field has another type than docs/journal.md says, or no sense."""


def count_of(record: Mapping[str, Any], name: str, default: int | None = None) -> int:
    """A whole number from 0 to 2**53. Raises WrongField."""
    value = record.get(name, default)
    if type(value) is not int or not 0 <= value <= MOST_COUNT:
        raise WrongField(name)
    return value


def optional_count(record: Mapping[str, Any], name: str) -> int | None:
    """The same, or None where the field is absent or null."""
    return None if record.get(name) is None else count_of(record, name)


def real_of(record: Mapping[str, Any], name: str) -> float:
    """A finite number that is not negative. Raises WrongField."""
    value = record.get(name)
    # Not isinstance: True is an int.
    if type(value) is int and value <= MOST_COUNT:
        value = float(value)
    if type(value) is not float or not 0.0 <= value < math.inf:
        raise WrongField(name)
    return value


def optional_real(record: Mapping[str, Any], name: str) -> float | None:
    """Any number, NaN and infinite ones too, or None where the field is absent or null."""
    value = record.get(name)
    if value is None or type(value) is float:
        return value
    if type(value) is not int or not -MOST_COUNT <= value <= MOST_COUNT:
        raise WrongField(name)
    return float(value)


def text_of(record: Mapping[str, Any], name: str, longest: int) -> str:
    """A text that can be a label's value; the empty one where it is absent or null. Raises WrongField."""
    value = record.get(name)
    if value is None:
        return ""
    if type(value) is not str or len(value) > longest or not value.isprintable():
        raise WrongField(name)
    return value


def counts_of(record: Mapping[str, Any], name: str, most: int) -> Mapping[str, int]:
    """A mapping from short texts to whole numbers; the empty one where the field is absent or null."""
    value = record.get(name)
    if value is None:
        return {}
    if type(value) is not dict or len(value) > most:
        raise WrongField(name)
    for key, count in value.items():
        if not key or len(key) > LONGEST_NAME or not key.isprintable():
            raise WrongField(name)
        if type(count) is not int or not 0 <= count <= MOST_COUNT:
            raise WrongField(key)
    return value


def memory_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The allocator's state of a ``step``: counts, truths and nulls by name. Raises WrongField."""
    value = record["memory"]
    if type(value) is not dict or len(value) > _MOST_MEMORY_KEYS:
        raise WrongField("memory")
    for found in value.values():
        if (
            found is not None
            and type(found) is not bool
            and not (type(found) is int and 0 <= found <= MOST_COUNT)
        ):
            raise WrongField("memory")
    return value


LONGEST_NAME = 64
"""Characters of an operation's name and the like."""
_MOST_MEMORY_KEYS = 32
