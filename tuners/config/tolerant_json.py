"""Reads a config as DeepSpeed does, whose reader is Hjson's (https://hjson.github.io/syntax.html).

What Hjson takes and JSON does not is noted: comments, a comma after the last entry, a line break for a comma,
keys without quotes, single quotes. Texts without quotes are faults all the same: nobody means the text
``"True"``, or ``"1 // ranks"``. After a fault it goes on at the next entry, so that all are told at once.
"""

import re
from dataclasses import dataclass, field
from typing import Any

from flyball.tuners.config.json_document import JsonError, Scanner

HJSON_RULES = ("json-comment", "json-trailing-comma", "json-hjson")
"""Of what Hjson takes."""
MOST_FAULTS = 100
_COMMENT = re.compile(r"(?://|#)[^\n]*|/\*.*?\*/", re.DOTALL)
_BARE_KEY = re.compile(r"[^\s,:\[\]{}\"'#/]+(?=[ \t]*:)")
_SINGLE_QUOTED = re.compile(r"'((?:[^'\\\n]|\\.)*)'")
_NEXT_ENTRY = re.compile(r"[,\n\]}]")
_READERS = "where transformers, accelerate or autotune reads the file: they read plain JSON"
_PLAIN = f"remove it {_READERS}"
_QUOTES = f"write double quotes {_READERS}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """What could be read, and what is to be said of it."""

    values: Any
    """None where nothing could; entries with a fault are left out."""
    places: dict[str, tuple[int, int]]
    faults: tuple[JsonError, ...]
    """In the order of the text, of ``HJSON_RULES`` too."""


class _Unmatched(Exception):
    """What is open ends nowhere, or there is too much wrong: there is nothing to go on with."""

    def __init__(self, fault: JsonError) -> None:
        self.fault = fault


class _Nothing:
    """In place of a value that could not be read."""


_NOTHING = _Nothing()


@dataclass(slots=True)
class _Tolerant(Scanner):
    faults: list[JsonError] = field(default_factory=list)

    def note(self, what: str, at: int, mend: str, rule: str) -> None:
        self.take(self.fault(what, at, mend, rule))

    def take(self, fault: JsonError) -> None:
        # The same place is looked at more than once.
        known = {(each.line, each.column, each.rule) for each in self.faults}
        if (fault.line, fault.column, fault.rule) not in known:
            self.faults.append(fault)
        if len(self.faults) >= MOST_FAULTS:
            raise _Unmatched(fault)

    def skip(self, at: int) -> int:
        while True:
            at = self.space(at)
            comment = _COMMENT.match(self.text, at)
            if comment is None:
                return at
            self.note("a comment, which of JSON's readers only Hjson takes", at, _PLAIN, "json-comment")
            at = comment.end()

    def value(self, at: int, path: str, depth: int) -> tuple[Any, int]:
        at = self.skip(at)
        single = _SINGLE_QUOTED.match(self.text, at)
        if single and not self.text.startswith("'''", at):
            self.note("a text in single quotes, which only Hjson takes", at, _QUOTES, "json-hjson")
            return re.sub(r"\\(.)", r"\1", single[1]), single.end()
        try:
            # ``super()`` without arguments does not work in a class with slots.
            return Scanner.value(self, at, path, depth)
        except JsonError as fault:
            if self.text[at : at + 1] in ("{", "[", "}", "]", ""):
                raise _Unmatched(fault) from fault
            self.take(fault)
            return _NOTHING, self.next_entry(at)

    def entry(self, at: int, path: str, depth: int, found: dict[str, Any]) -> int:
        try:
            end = Scanner.entry(self, at, path, depth, found)
        except JsonError as fault:
            if self.text[at : at + 1] in ("}", "]", ""):
                raise _Unmatched(fault) from fault
            self.take(fault)
            return self.next_entry(at + 1)
        for key in [key for key, value in found.items() if value is _NOTHING]:
            del found[key]
        return end

    def key(self, at: int) -> tuple[str, int]:
        if bare := _BARE_KEY.match(self.text, at):
            self.note("a key without quotes, which only Hjson takes", at, _QUOTES, "json-hjson")
            return bare[0], bare.end()
        if single := _SINGLE_QUOTED.match(self.text, at):
            self.note("a key in single quotes, which only Hjson takes", at, _QUOTES, "json-hjson")
            return single[1], single.end()
        return Scanner.key(self, at)

    def again(self, key: str, at: int, place: str) -> bool:
        self.take(self.twice(key, at, place))
        return False

    def separator(self, at: int, closing: str) -> tuple[bool, int]:
        following = self.skip(at)
        if self.text.startswith((closing, ","), following):
            return self.past_comma(following, closing)
        if self.text[following : following + 1] in ("}", "]", ""):
            what, mend = f"expected ',' or '{closing}'", "close what was opened"
            raise _Unmatched(self.fault(what, following, mend))
        if "\n" in self.text[at:following]:
            mend = f"write a comma {_READERS}"
            what = "no ',' between two entries, in place of which only Hjson takes a line break"
            self.note(what, following, mend, "json-hjson")
            return False, following
        self.take(self.fault(f"expected ',' or '{closing}'", following, "write a comma between two entries"))
        after = self.next_entry(following)
        return self.past_comma(self.skip(after), closing)

    def past_comma(self, at: int, closing: str) -> tuple[bool, int]:
        if self.text.startswith(closing, at):
            return True, at + 1
        if not self.text.startswith(",", at):
            return False, at
        following = self.skip(at + 1)
        if self.text.startswith(closing, following):
            what = "a comma after the last entry, which only Hjson takes"
            self.note(what, at, _PLAIN, "json-trailing-comma")
            return True, following + 1
        return False, following

    def next_entry(self, at: int) -> int:
        found = _NEXT_ENTRY.search(self.text, at)
        return found.start() if found else len(self.text)


def read_tolerantly(text: str) -> Read:
    """Return what a text holds, as far as it can be read, and all that is wrong with it."""
    scanner = _Tolerant(text)
    values: Any = None
    try:
        values, end = scanner.value(0, "", 0)
        end = scanner.skip(end)
        if end != len(text):
            scanner.take(scanner.fault("text after the end of the config", end, "remove it"))
    except (JsonError, _Unmatched) as error:
        fault = error.fault if isinstance(error, _Unmatched) else error
        if fault not in scanner.faults:
            scanner.faults.append(fault)
    faults = sorted(scanner.faults, key=lambda each: (each.line, each.column))
    return Read(values=None if values is _NOTHING else values, places=scanner.places, faults=tuple(faults))
