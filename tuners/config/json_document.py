"""Reads JSON and remembers where every key stands: json.loads forgets it."""

import bisect
import json
import math
import re
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

MAX_DEPTH = 64
MAX_DIGITS = 64
"""Of a whole number, and of the text of any other; Python itself reads up to 4,300."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_SPACE = re.compile(r"[ \t\r\n]*")
_WORDS = {"true": True, "false": False, "null": None}
_FOREIGN_WORDS = {"True": "true", "False": "false", "None": "null"}


class JsonError(ValueError):
    """What is wrong with the text, at which line and column (from 1), and what to write instead.

    ``rule`` names it in ``rule_catalog``.
    """

    def __init__(
        self, what: str, *, line: int, column: int, mend: str | None = None, rule: str = "json-syntax"
    ) -> None:
        self.what, self.line, self.column, self.mend, self.rule = what, line, column, mend, rule
        super().__init__(f"{line}:{column}: {what}")


@dataclass(slots=True)
class Scanner:
    """Reads one text; ``flyball.tuners.config.tolerant_json`` makes of it one that goes on after a fault."""

    text: str
    breaks: list[int] = field(init=False)
    places: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.breaks = [match.start() for match in re.finditer("\n", self.text)]

    def place(self, at: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = bisect.bisect_left(self.breaks, at)
        return line + 1, at - (self.breaks[line - 1] if line else -1)

    def fault(self, what: str, at: int, mend: str | None = None, rule: str = "json-syntax") -> JsonError:
        """Return what is wrong at a place of the text."""
        line, column = self.place(at)
        return JsonError(what, line=line, column=column, mend=mend, rule=rule)

    def space(self, at: int) -> int:
        """Return where a space ends."""
        match = _SPACE.match(self.text, at)
        return match.end() if match else at

    def skip(self, at: int) -> int:
        """Return where the next token begins."""
        at = self.space(at)
        if self.text.startswith(("//", "/*", "#"), at):
            mend = f"remove the comment at line {self.place(at)[0]}: the config must be plain JSON"
            raise self.fault("a comment", at, mend, "json-comment")
        return at

    def value(self, at: int, path: str, depth: int) -> tuple[Any, int]:
        """Return a value and where it ends, as all below do; raises JsonError."""
        at = self.skip(at)
        if depth > MAX_DEPTH:
            raise self.fault(f"nested deeper than {MAX_DEPTH} levels", at, "write a flatter config")
        opening = self.text[at : at + 1]
        if opening == "{":
            return self.mapping(at, path, depth)
        if opening == "[":
            return self.sequence(at, path, depth)
        return self.string(at) if opening == '"' else self.scalar(at)

    def string(self, at: int) -> tuple[str, int]:
        """Read a text in double quotes."""
        try:
            text, end = scanstring(self.text, at + 1, True)
        except json.JSONDecodeError as error:
            mend = 'close it with ", and write \\n for a line break in it'
            raise self.fault(error.msg.lower(), error.pos, mend) from error
        return str(text), int(end)

    def scalar(self, at: int) -> tuple[Any, int]:
        """Read a number or a word."""
        number = _NUMBER.match(self.text, at)
        if number and not re.match(r"[\w.]", self.text[number.end() : number.end() + 1]):
            token = number.group()
            found = int(token[:MAX_DIGITS]) if token.lstrip("-").isdigit() else float(token)
            if len(token) > MAX_DIGITS or math.isinf(found):
                raise self.fault(f"{token[:20]}... is too large", at, "write a number of fewer digits")
            return found, number.end()
        word = re.compile(r"[-\w.+']*").match(self.text, at)
        token = word.group() if word else ""
        if token in _WORDS:
            return _WORDS[token], at + len(token)
        raise self.fault(*self.unreadable(token, at))

    def unreadable(self, token: str, at: int) -> tuple[str, int, str, str]:
        """Say what is wrong with a token: what, where, mend and rule."""
        if token.lstrip("-+") in {"NaN", "Infinity", "inf", "nan"}:
            return f"{token} is not a number in JSON", at, "write a finite number", "json-not-finite"
        return *self.misread(token, at), "json-syntax"

    def misread(self, token: str, at: int) -> tuple[str, int, str]:
        """Say what a token looks like: what, where and mend."""
        if token in _FOREIGN_WORDS:
            return f"{token} is not JSON", at, f"write {_FOREIGN_WORDS[token]}"
        if token.startswith("'"):
            return "a string in single quotes", at, "write it in double quotes"
        if at >= len(self.text):
            return "the file ends too early", at, "close what was opened, or write the missing value"
        mend = "write a text in double quotes, a number, true or null"
        return f"expected a value, found {token or self.text[at]!r}", at, mend

    def mapping(self, at: int, path: str, depth: int) -> tuple[dict[str, Any], int]:
        """Read an object."""
        found: dict[str, Any] = {}
        at = self.skip(at + 1)
        if self.text.startswith("}", at):
            return found, at + 1
        while True:
            at = self.entry(at, path, depth, found)
            closed, at = self.separator(at, "}")
            if closed:
                return found, at

    def entry(self, at: int, path: str, depth: int, found: dict[str, Any]) -> int:
        """Read a key and its value into ``found``; return where they end."""
        key, end = self.key(at)
        place = f"{path}.{key}" if path else key
        is_new = key not in found or self.again(key, at, place)
        if is_new:
            self.places[place] = self.place(at)
        end = self.skip(end)
        if not self.text.startswith(":", end):
            raise self.fault(
                f"expected ':' after the key {key!r}", end, f"write {json.dumps(key)}: and its value"
            )
        value, end = self.value(end + 1, place, depth + 1)
        if is_new:
            found[key] = value
        return end

    def key(self, at: int) -> tuple[str, int]:
        """Read a key."""
        if not self.text.startswith('"', at):
            raise self.fault("expected a key in double quotes", at, 'write {"key": value, ...}')
        return self.string(at)

    def again(self, key: str, at: int, place: str) -> bool:
        """Whether a key that stands twice replaces the first one."""
        raise self.twice(key, at, place)

    def twice(self, key: str, at: int, place: str) -> JsonError:
        """Return what is wrong where a key stands twice."""
        mend = f"keep one: line {self.places[place][0]} has it too"
        return self.fault(f"the key {key!r} stands twice", at, mend, "json-duplicate-key")

    def sequence(self, at: int, path: str, depth: int) -> tuple[list[Any], int]:
        """Read a list."""
        items: list[Any] = []
        at = self.skip(at + 1)
        if self.text.startswith("]", at):
            return items, at + 1
        while True:
            item, at = self.value(at, f"{path}.{len(items)}", depth + 1)
            items.append(item)
            closed, at = self.separator(at, "]")
            if closed:
                return items, at

    def separator(self, at: int, closing: str) -> tuple[bool, int]:
        """Return whether ``closing`` follows an entry, and where it goes on."""
        at = self.skip(at)
        if self.text.startswith(closing, at):
            return True, at + 1
        if not self.text.startswith(",", at):
            raise self.fault(f"expected ',' or '{closing}'", at, "write a comma between two entries")
        following = self.skip(at + 1)
        if self.text.startswith(closing, following):
            raise self.fault("a comma after the last entry", at, "remove the comma", "json-trailing-comma")
        return False, following


def parse(text: str) -> tuple[Any, dict[str, tuple[int, int]]]:
    """Return the value, and line and column (from 1) of every key path, as in ``zero_optimization.stage``.

    Raises:
        JsonError: the text is not plain JSON (RFC 8259), or a key stands twice in one object.
    """
    scanner = Scanner(text)
    value, end = scanner.value(0, "", 0)
    end = scanner.skip(end)
    if end != len(text):
        raise scanner.fault("text after the end of the config", end, "remove it")
    return value, scanner.places
