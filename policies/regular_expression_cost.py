r"""Which regular expressions may take Python for ever, where RE2 takes time linear in the text.

Python's matcher tries one way after the other. Where a text can be cut into repetitions in more than one way,
as with ``(a+)+`` or ``(a|aa)+``, forty characters of it are enough, and whoever may write to a run folder
chooses the run's name. What is taken: repetitions of what has one width, of alternatives that begin
differently, and of what begins with a letter that does not come again, as in ``gpu-\d+(,gpu-\d+)*``.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

MOST_REPEATS = 1000
"""RE2 refuses more, one within the other counted together."""
_PARSER: Any = re._parser  # type: ignore[attr-defined]
_ONE_CHARACTER = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT"}
_IGNORES_CASE = re.compile(r"\(\?[A-Za-z]*i")
"""Somewhere, which is taken for everywhere."""
_CATEGORIES = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}

_Item = tuple[Any, Any]


def may_explode(pattern: str, flags: int) -> bool:
    """Whether it repeats something in which the matcher could lose itself; the pattern must be right."""
    if _IGNORES_CASE.search(pattern):
        flags |= re.IGNORECASE
    return _loses(list(_PARSER.parse(pattern, flags)), flags, repetitions=1)


def _loses(items: Sequence[_Item], flags: int, *, repetitions: int) -> bool:
    for item in items:
        name = str(item[0])
        if name not in _REPEATS:
            if any(_loses(inner, flags, repetitions=repetitions) for inner in _inside(item)):
                return True
            continue
        _, most, body = item[1]
        inner = list(body)
        times = repetitions * most if most is not _PARSER.MAXREPEAT else repetitions
        if times > MOST_REPEATS or (most > 1 and not _has_one_cut(inner, flags)):
            return True
        if _loses(inner, flags, repetitions=times):
            return True
    return False


def _has_one_cut(body: list[_Item], flags: int) -> bool:
    """Whether a text made of repetitions of it can be cut into them in one way only."""
    while len(body) == 1 and str(body[0][0]) == "SUBPATTERN":
        body = list(body[0][1][-1])
    if not _varies(body):
        return True
    if len(body) == 1 and str(body[0][0]) == "BRANCH":
        return _differ(body[0][1][1], flags)
    name, letter = body[0]
    return str(name) == "LITERAL" and not _can_match(body[1:], letter, flags)


def _differ(alternatives: Sequence[Any], flags: int) -> bool:
    """Whether each begins with a letter of its own, and none varies."""
    begins = []
    for alternative in map(list, alternatives):
        if not alternative or str(alternative[0][0]) != "LITERAL" or _varies(alternative[1:]):
            return False
        letter = chr(alternative[0][1])
        begins.append(letter.lower() if flags & re.IGNORECASE else letter)
    return len(set(begins)) == len(begins)


def _varies(items: Sequence[_Item]) -> bool:
    """Whether there is a choice in it: a repetition without a fixed count, or alternatives."""
    for item in items:
        name = str(item[0])
        if name == "BRANCH" or (name in _REPEATS and item[1][0] != item[1][1]):
            return True
        if any(_varies(inner) for inner in _inside(item)):
            return True
    return False


def _can_match(items: Sequence[_Item], letter: int, flags: int) -> bool:
    for item in items:
        if str(item[0]) in _ONE_CHARACTER and _takes(item, letter, flags):
            return True
        if any(_can_match(inner, letter, flags) for inner in _inside(item)):
            return True
    return False


def _takes(item: _Item, letter: int, flags: int) -> bool:
    name, what = str(item[0]), item[1]
    if name == "ANY" or flags & re.IGNORECASE:
        return True
    if name == "LITERAL":
        return bool(what == letter)
    if name == "NOT_LITERAL":
        return bool(what != letter)
    return any(_in_set(str(kind), given, letter, flags) for kind, given in what)


def _in_set(kind: str, given: Any, letter: int, flags: int) -> bool:
    if kind == "LITERAL":
        return bool(given == letter)
    if kind == "RANGE":
        return bool(given[0] <= letter <= given[1])
    category = _CATEGORIES.get(str(given))
    return category is None or re.match(category, chr(letter), flags) is not None


def _inside(item: _Item) -> Iterator[list[_Item]]:
    name, what = str(item[0]), item[1]
    if name in _REPEATS:
        yield list(what[2])
    elif name == "SUBPATTERN":
        yield list(what[-1])
    elif name == "BRANCH":
        for alternative in what[1]:
            yield list(alternative)
