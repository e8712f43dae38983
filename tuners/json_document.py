"""Reads JSON and remembers the line of every key: json.loads forgets where a value stood."""

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
    """What is wrong with the text, at which line and column (from 1), and what to write instead."""

    def __init__(self, what: str, *, line: int, column: int, mend: str | None = None) -> None:
        self.what, self.line, self.column, self.mend = what, line, column, mend
        super().__init__(f"{line}:{column}: {what}")


@dataclass(slots=True)
class _Scanner:
    text: str
    lines: dict[str, int] = field(default_factory=dict)

    def fault(self, what: str, at: int, mend: str | None = None) -> JsonError:
        line = self.text.count("\n", 0, at) + 1
        column = at - self.text.rfind("\n", 0, at)
        return JsonError(what, line=line, column=column, mend=mend)

    def skip(self, at: int) -> int:
        match = _SPACE.match(self.text, at)
        at = match.end() if match else at
        if self.text.startswith(("//", "/*", "#"), at):
            line = self.text.count("\n", 0, at) + 1
            raise self.fault(
                "a comment", at, f"remove the comment at line {line}: the config must be plain JSON"
            )
        return at

    def value(self, at: int, path: str, depth: int) -> tuple[Any, int]:
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
        try:
            text, end = scanstring(self.text, at + 1, True)
        except json.JSONDecodeError as error:
            mend = 'close it with ", and write \\n for a line break in it'
            raise self.fault(error.msg.lower(), error.pos, mend) from error
        return str(text), int(end)

    def scalar(self, at: int) -> tuple[Any, int]:
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

    def unreadable(self, token: str, at: int) -> tuple[str, int, str | None]:
        if token in _FOREIGN_WORDS:
            return f"{token} is not JSON", at, f"write {_FOREIGN_WORDS[token]}"
        if token.lstrip("-+") in {"NaN", "Infinity", "inf", "nan"}:
            return f"{token} is not a number in JSON", at, "write a finite number"
        if token.startswith("'"):
            return "a string in single quotes", at, "write it in double quotes"
        if at >= len(self.text):
            return "the file ends too early", at, "close what was opened, or write the missing value"
        found = token or self.text[at]
        return (
            f"expected a value, found {found!r}",
            at,
            "write a text in double quotes, a number, true or null",
        )

    def mapping(self, at: int, path: str, depth: int) -> tuple[dict[str, Any], int]:
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
        if not self.text.startswith('"', at):
            raise self.fault("expected a key in double quotes", at, 'write {"key": value, ...}')
        key, end = self.string(at)
        place = f"{path}.{key}" if path else key
        if key in found:
            raise self.fault(
                f"the key {key!r} stands twice", at, f"keep one: line {self.lines[place]} has it too"
            )
        self.lines[place] = self.text.count("\n", 0, at) + 1
        end = self.skip(end)
        if not self.text.startswith(":", end):
            raise self.fault(
                f"expected ':' after the key {key!r}", end, f"write {json.dumps(key)}: and its value"
            )
        found[key], end = self.value(end + 1, place, depth + 1)
        return end

    def sequence(self, at: int, path: str, depth: int) -> tuple[list[Any], int]:
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
        at = self.skip(at)
        if self.text.startswith(closing, at):
            return True, at + 1
        if not self.text.startswith(",", at):
            raise self.fault(f"expected ',' or '{closing}'", at, "write a comma between two entries")
        following = self.skip(at + 1)
        if self.text.startswith(closing, following):
            raise self.fault("a comma after the last entry", at, "remove the comma")
        return False, following


def parse(text: str) -> tuple[Any, dict[str, int]]:
    """Return the value and the line (from 1) of every key path, as in ``zero_optimization.stage``.

    Raises:
        JsonError: the text is not plain JSON (RFC 8259), or a key stands twice in one object.
    """
    scanner = _Scanner(text)
    value, end = scanner.value(0, "", 0)
    end = scanner.skip(end)
    if end != len(text):
        raise scanner.fault("text after the end of the config", end, "remove it")
    return value, scanner.lines
