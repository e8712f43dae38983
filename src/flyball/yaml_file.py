"""Reads a YAML file and tells the line of every fault, also of those that a pydantic model finds."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from flyball.errors import OptionError
from flyball.file_system import open_regular

MAX_BYTES = 2**20
MOST_LEVELS = 50
_NO_YAML = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that no YAML file may have (https://yaml.org/spec/1.2.2/#51-character-set)."""
_DOUBTFUL = re.compile(r"[-+]?(0[0-9_]+|[0-9]+_[0-9_]*)(\.[0-9_]*)?")
"""YAML 1.1 reads 070 as 56 and 1_000 as 1000; 1.2 reads 070 as 70 and 1_000 as text."""
_NO_ALIASES, _NO_TEXT = "aliases are not taken", "has half of a surrogate pair"
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True, kw_only=True, slots=True)
class YamlFile:
    """A mapping with its places."""

    name: str
    document: Mapping[str, Any]

    def place(self, path: Sequence[str | int]) -> str:
        """``file:line: key.path`` of the deepest part of ``path`` that the file has."""
        node: Any = self.document
        line = None
        for key in path:
            try:
                marks = node.lc
                key = _as_written(node, key)
                line = (marks.key(key) if isinstance(node, Mapping) else marks.item(key))[0] + 1
                node = node[key]
            except (AttributeError, KeyError, IndexError, TypeError):
                break
        where = self.name if line is None else f"{self.name}:{line}"
        keys = ".".join(str(part) for part in path)
        return f"{where}: {keys}" if keys else where

    def validated(
        self, model: type[Model], value: Mapping[str, Any], at: Sequence[str | int] = (), *, see: str
    ) -> Model:
        """Return the model made of ``value``, which stands at the path ``at``.

        Raises:
            OptionError: its first fault, with line, key path and mend.
        """
        try:
            return model.model_validate(value)
        except ValidationError as error:
            raise self.faults(error, model, at, see=see)[0] from error

    def faults(
        self, error: ValidationError, model: type[BaseModel], at: Sequence[str | int] = (), *, see: str
    ) -> list[OptionError]:
        """What pydantic found wrong with the value at the path ``at``, each with line, key path and mend."""
        names = [field.alias or name for name, field in model.model_fields.items()]
        return [
            OptionError(
                _what(one),
                where=self.place([*at, *(part for part in one["loc"] if part != "[key]")]),
                mend=_mend(one, names, see),
            )
            for one in error.errors(include_url=False)
        ]


def read_yaml(path: Path, *, mend: str) -> YamlFile:
    """Read a file that holds a mapping; an empty one is an empty mapping.

    Raises:
        OptionError: it cannot be read, is larger than 1 MiB, or is no YAML mapping: the first fault.
    """
    file, faults = read_with_faults(path, mend=mend)
    if faults or file is None:
        raise faults[0]
    return file


def read_with_faults(path: Path, *, mend: str) -> tuple[YamlFile | None, list[OptionError]]:
    """The same with all faults of the YAML itself, in the order of their lines.

    A key that is written twice has its first value, so that the rest can still be checked; with any other
    fault there is no file.
    """
    name = str(path)
    try:
        text = _text(path, mend)
        with _faults_of_yaml(name):
            faults = list(_faults(YAML(typ="rt").parse(text), name))
        unusable = any(fault.what in (_NO_ALIASES, _NO_TEXT) for fault in faults)
        document = None if unusable else _load(text, name)
    except OptionError as fault:
        return None, [fault]
    if faults and document is None:
        return None, faults
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        mend = "write 'key: value' on each line"
        return None, [*faults, OptionError("is not a mapping", where=name, mend=mend)]
    return YamlFile(name=name, document=document), faults


def _text(path: Path, mend: str) -> str:
    name = str(path)
    try:
        with open_regular(path) as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise OptionError(what or "cannot be read", where=name, mend=mend) from error
    if len(data) > MAX_BYTES:
        raise OptionError("is larger than 1 MiB", where=name, mend=mend)
    if found := _NO_YAML.search(text):
        what = f"has the character U+{ord(found[0]):04X}, which YAML does not take"
        where = f"{name}:{text.count(chr(10), 0, found.start()) + 1}"
        raise OptionError(what, where=where, mend="take it out, or write an escape in double quotes")
    return text


def _load(text: str, name: str) -> Any:
    reader = YAML(typ="rt")
    reader.allow_duplicate_keys = True  # they are among the faults already
    with _faults_of_yaml(name):
        return reader.load(text)


@contextmanager
def _faults_of_yaml(name: str) -> Iterator[None]:
    try:
        yield
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = (error.problem or "is not YAML").split("\n")[0]
        mend = "write 'key: value', indented by spaces; texts with special characters in quotes"
        raise OptionError(problem, where=where, mend=mend) from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise OptionError("is not YAML", where=name, mend="write 'key: value' on each line") from error


def _as_written(node: Any, key: str | int) -> Any:
    """A key as the file has it, which may be a number or ``true`` there."""
    if not isinstance(node, Mapping) or key in node:
        return key
    return next((each for each in node if str(each) == str(key)), key)


def _faults(events: Iterable[Event], name: str) -> Iterator[OptionError]:
    """Aliases, a few lines of which can stand for more than any machine can hold; keys written twice; escapes
    that make no text; numbers that readers of YAML take for different ones.
    """
    open_nodes: list[_Node] = []
    aliases = False
    for event in events:
        if isinstance(event, CollectionEndEvent):
            open_nodes.pop()
        if not isinstance(event, NodeEvent):
            continue
        where = f"{name}:{event.start_mark.line + 1}"
        if isinstance(event, AliasEvent) and not aliases:
            aliases = True  # once: a file can have thousands
            yield OptionError(_NO_ALIASES, where=where, mend="write the value out")
        if isinstance(event, ScalarEvent) and not _is_text(event.value):
            yield OptionError(_NO_TEXT, where=where, mend="write the character itself")
        if isinstance(event, ScalarEvent) and event.implicit[0] and _DOUBTFUL.fullmatch(event.value):
            yield _doubt(event.value, where)
        if open_nodes and open_nodes[-1].takes_again(event):
            key = getattr(event, "value", "")
            yield OptionError(f'found duplicate key "{key}"', where=where, mend="write each key once")
        if len(open_nodes) > MOST_LEVELS:
            raise OptionError("is nested too deeply", where=where, mend="write what the page shows")
        if isinstance(event, CollectionStartEvent):
            open_nodes.append(_Node(is_mapping=isinstance(event, MappingStartEvent)))


def _doubt(value: str, where: str) -> OptionError:
    plain_number = value.replace("_", "")
    sign = "-" if value.startswith("-") else ""
    number = sign + (plain_number.lstrip("+-0") or "0")
    number = number.replace(f"{sign}.", f"{sign}0.", 1) if number.startswith(f"{sign}.") else number
    what = f"{value[:40]} is not one number to all readers of YAML"
    return OptionError(
        what, where=where, mend=f"write {number[:40].rstrip('.')}, or '{value[:40]}' as a text"
    )


def _is_text(value: str) -> bool:
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


@dataclass(kw_only=True, slots=True)
class _Node:
    """A list or mapping that has begun."""

    is_mapping: bool
    children: int = 0
    keys: set[str] = field(default_factory=set)

    def takes_again(self, event: NodeEvent) -> bool:
        """Take a child in; True where it is a key that the mapping has already."""
        self.children += 1
        if not self.is_mapping or self.children % 2 == 0 or not isinstance(event, ScalarEvent):
            return False
        known = event.value in self.keys
        self.keys.add(event.value)
        return known


def plain(value: Any) -> Any:
    """The same without the reader's own types."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _what(fault: Any) -> str:
    if fault["type"] == "extra_forbidden":
        return "unknown key"
    if fault["type"] == "missing":
        return "is missing"
    message = str(fault["msg"]).removeprefix("Value error, ").partition("; ")[0]
    message = message.replace("valid tuple", "list").replace("Tuple", "List")
    message = message.replace("valid dictionary", "mapping")
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def _mend(fault: Any, fields: Iterable[str], see: str) -> str:
    mend = str(fault["msg"]).partition("; ")[2]
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(fault["loc"][-1]), list(fields), n=1)
        return f"did you mean {close[0]}?" if close else f"take it out, or see {see}"
    return mend or f"see {see}"
