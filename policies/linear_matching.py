"""Matches a regular expression in time linear in the text, as RE2 does, whatever the text is.

All ways through the pattern are followed at once (Thompson, "Regular expression search algorithm", 1968;
https://swtch.com/~rsc/regexp/regexp1.html), where Python's matcher tries one after the other. It is much
slower than that for what is harmless, and so only for patterns with many choices. What a single character or
place means is asked of Python's own matcher.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

_PARSER: Any = re._parser  # type: ignore[attr-defined]
_COMPILER: Any = re._compiler  # type: ignore[attr-defined]
_ONE_CHARACTER = {"LITERAL", "NOT_LITERAL", "ANY", "IN"}
_REPEATS = {"MAX_REPEAT", "MIN_REPEAT"}
_END = 0
_Item = tuple[Any, Any]


@dataclass(slots=True)
class _State:
    """A step: through a character, past a place, or (without a test) to any of the next ones."""

    next: list[int]
    test: "re.Pattern[str] | None" = None
    takes: bool = False
    """Whether it takes a character."""
    known: dict[str, bool] = field(default_factory=dict)
    """Characters that were tested."""

    def passes(self, character: str) -> bool:
        found = self.known.get(character)
        if found is None:
            assert self.test is not None
            found = self.known[character] = self.test.fullmatch(character) is not None
        return found


class LinearPattern:
    """A pattern that ``regular_expression.check`` takes.

    Args:
        pattern: the whole text must match it.
        flags: as for ``re.compile``.
    """

    def __init__(self, pattern: str, flags: int) -> None:
        parsed = _PARSER.parse(pattern, flags)
        self._states = [_State([])]
        self._start = self._chain(list(parsed), parsed.state.flags, _END)

    def fullmatch(self, text: str) -> bool:
        """Whether the whole text matches."""
        now = self._reached([self._start], text, 0)
        for place, character in enumerate(text):
            steps = (self._states[each] for each in now)
            taken = [step.next[0] for step in steps if step.takes and step.passes(character)]
            now = self._reached(taken, text, place + 1)
            if not now:
                return False
        return _END in now

    def _reached(self, begin: Iterable[int], text: str, place: int) -> set[int]:
        """Return where one stands at a place, without taking a character."""
        found: set[int] = set()
        ahead = list(begin)
        while ahead:
            number = ahead.pop()
            if number in found:
                continue
            found.add(number)
            state = self._states[number]
            if not state.takes and (state.test is None or state.test.match(text, place)):
                ahead.extend(state.next)
        return found

    def _new(self, state: _State) -> int:
        self._states.append(state)
        return len(self._states) - 1

    def _chain(self, items: Sequence[_Item], flags: int, then: int) -> int:
        """Add the states of items that end in the state ``then``; return the first one."""
        for item in reversed(items):
            then = self._item(item, flags, then)
        return then

    def _item(self, item: _Item, flags: int, then: int) -> int:
        name, what = str(item[0]), item[1]
        if name in _REPEATS:
            least, most, body = what
            return self._repeat(least, most, list(body), flags, then)
        if name == "BRANCH":
            return self._new(_State([self._chain(list(each), flags, then) for each in what[1]]))
        if name == "SUBPATTERN":
            return self._chain(list(what[3]), (flags | what[1]) & ~what[2], then)
        return self._new(_State([then], _alone(item, flags), name in _ONE_CHARACTER))

    def _repeat(self, least: int, most: Any, items: Sequence[_Item], flags: int, then: int) -> int:
        if most is _PARSER.MAXREPEAT:
            again = self._new(_State([then]))
            self._states[again].next.append(self._chain(items, flags, again))
            first = again
        else:
            first = then
            for _ in range(most - least):
                first = self._new(_State([then, self._chain(items, flags, first)]))
        for _ in range(least):
            first = self._chain(items, flags, first)
        return first


def _alone(item: _Item, flags: int) -> "re.Pattern[str]":
    state = _PARSER.State()
    state.flags, state.str = flags, ""
    found: re.Pattern[str] = _COMPILER.compile(_PARSER.SubPattern(state, [item]), flags)
    return found


def choices(pattern: str, flags: int) -> int:
    """How often Python's matcher may have to choose, one choice after the other: the power of its time."""
    return _choices(list(_PARSER.parse(pattern, flags)))


def size(pattern: str, flags: int) -> int:
    """How many characters it has when every repetition is written out."""
    return _size(list(_PARSER.parse(pattern, flags)))


def _choices(items: Sequence[_Item]) -> int:
    found = 0
    for item in items:
        name, what = str(item[0]), item[1]
        if name in _REPEATS:
            times = 1 if what[1] is _PARSER.MAXREPEAT else what[1]
            found += (what[0] != what[1]) + times * _choices(list(what[2]))
        elif name == "BRANCH":
            found += 1 + max(_choices(list(each)) for each in what[1])
        elif name == "SUBPATTERN":
            found += _choices(list(what[3]))
    return found


def _size(items: Sequence[_Item]) -> int:
    found = 0
    for item in items:
        name, what = str(item[0]), item[1]
        if name in _REPEATS:
            found += (what[0] + 1 if what[1] is _PARSER.MAXREPEAT else what[1]) * (_size(list(what[2])) + 1)
        elif name == "BRANCH":
            found += sum(_size(list(each)) + 1 for each in what[1])
        else:
            found += _size(list(what[3])) if name == "SUBPATTERN" else 1
    return found
