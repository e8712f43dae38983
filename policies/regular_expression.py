"""Which regular expressions mean the same to Python and to Prometheus (RE2).

RE2 (https://github.com/google/re2/wiki/Syntax) has no look-around and no back references; what it has and
Python has not (``\\pL``, ``\\z``, ``[[:alpha:]]``) is refused too, since the agent itself runs Python.
"""

import re
import warnings
from collections.abc import Callable, Iterator

from flyball.policies.linear_matching import LinearPattern, choices, size
from flyball.policies.regular_expression_cost import MOST_REPEATS, may_explode

LONGEST = 1000
MOST_CHOICES = 2
"""With more, Python's matcher may take more than time in the square of the text's length."""
MOST_SIZE = 2000

_GROUP = re.compile(r"\?(P?<[A-Za-z_]\w*>|:|[imsU]+[:)])", re.ASCII)
_ESCAPED = re.compile(r"[dDwWsSbBnrtfvaA]|x[0-9A-Fa-f]{2}|[^A-Za-z0-9_]", re.ASCII)
_REPEAT = re.compile(r"\{(\d*)(,?)(\d*)\}", re.ASCII)
_UNKNOWN = {
    "?=": "looks ahead",
    "?!": "looks ahead",
    "?<=": "looks behind",
    "?<!": "looks behind",
    "?P=": "refers back to a group",
    "?>": "has an atomic group",
    "?(": "has a conditional",
    "?#": "has a comment",
}
_SHOWN = 60
_META = frozenset("\\.+*?()|[]{}^$")
FLAGS = re.ASCII | re.DOTALL
r"""Under which Python reads it as RE2 does: ``\d`` is 0 to 9; ``.`` is any character, as in Prometheus."""


def check(pattern: str) -> None:
    """Say what is wrong with a pattern.

    Raises:
        ValueError: as ``what; mend``.
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"the pattern has more than {LONGEST} characters; list the values instead")
    for fault in _faults(pattern):
        raise ValueError(f"'{pattern[:_SHOWN]}' {fault}; write what Python and RE2 (Prometheus) both read")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            re.compile(pattern, FLAGS)
        except (re.error, FutureWarning, OverflowError, RecursionError) as error:
            what = str(error).partition(" at position")[0].replace(";", ",")
            mend = "write \\ before what stands for itself"
            message = f"'{pattern[:_SHOWN]}' is no regular expression: {what}; {mend}"
            raise ValueError(message) from None
    if may_explode(pattern, FLAGS):
        what = "repeats what can be cut in several ways, which may take for ever"
        raise ValueError(f"'{pattern[:_SHOWN]}' {what}; write one repetition, or list the values")
    if size(pattern, FLAGS) > MOST_SIZE:
        what = f"has more than {MOST_SIZE} characters with its repetitions written out"
        raise ValueError(f"'{pattern[:_SHOWN]}' {what}; write fewer or shorter repetitions")


def matching(pattern: str) -> Callable[[str], bool]:
    """Return what says whether a whole text matches; it takes little time whatever the text is.

    Args:
        pattern: one that ``check`` takes.
    """
    if choices(pattern, FLAGS) > MOST_CHOICES:
        return LinearPattern(pattern, FLAGS).fullmatch
    compiled = re.compile(pattern, FLAGS)
    return lambda text: compiled.fullmatch(text) is not None


def quote(text: str) -> str:
    """Return a pattern that matches exactly ``text``."""
    return "".join(f"\\{letter}" if letter in _META else letter for letter in text)


def _faults(pattern: str) -> Iterator[str]:
    place, in_class = 0, False
    while place < len(pattern):
        letter, rest = pattern[place], pattern[place + 1 :]
        if letter == "\\":
            yield from _of_escape(rest)
            place += 1
        elif in_class:
            if letter == "[" and rest.startswith(":"):
                yield "has a class such as [:alpha:]"
            in_class = letter != "]"
        elif letter == "[":
            in_class = True
            place += len(rest) - len(rest.removeprefix("^").removeprefix("]"))
        elif letter == "(" and rest.startswith("?"):
            yield from _of_group(rest)
        elif letter in "*+?}" and rest.startswith("+"):
            yield "has a possessive repetition"
        elif letter == "{" and (found := _REPEAT.match(pattern, place)):
            yield from _of_repeat(found)
        place += 1


def _of_escape(rest: str) -> Iterator[str]:
    if rest[:1].isdigit():
        yield f"refers back by \\{rest[:1]}"
    elif rest and not _ESCAPED.match(rest):
        yield f"has \\{rest[:1]}"


def _of_group(rest: str) -> Iterator[str]:
    if not _GROUP.match(rest) or "U" in rest.partition(")")[0].partition(":")[0]:
        known = next((words for start, words in _UNKNOWN.items() if rest.startswith(start)), None)
        yield known or f"has the group ({rest[:3]}"


def _of_repeat(found: re.Match[str]) -> Iterator[str]:
    least, comma, most = found.groups()
    if not least and comma and most:
        yield f"has {found[0]}"
    elif max(int(least or 0), int(most or 0)) > MOST_REPEATS:
        yield f"repeats more than {MOST_REPEATS} times"
