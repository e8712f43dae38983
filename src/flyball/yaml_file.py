"""Reads a YAML file and tells the line of every fault, also of those that a pydantic model finds."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent

from flyball.errors import OptionError

MAX_BYTES = 2**20
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
            first = error.errors(include_url=False)[0]
            path = [*at, *(part for part in first["loc"] if part != "[key]")]
            raise OptionError(
                _what(first), where=self.place(path), mend=_mend(first, model.model_fields, see)
            ) from error


def read_yaml(path: Path, *, mend: str) -> YamlFile:
    """Read a file that holds a mapping; an empty one is an empty mapping.

    Raises:
        OptionError: it cannot be read, is larger than 1 MiB, or is no YAML mapping.
    """
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise OptionError(what or "cannot be read", where=name, mend=mend) from error
    if len(data) > MAX_BYTES:
        raise OptionError("is larger than 1 MiB", where=name, mend=mend)
    document = _load(text, name)
    if document is None:
        document = {}
    if not isinstance(document, Mapping):
        raise OptionError("is not a mapping", where=name, mend="write 'key: value' on each line")
    return YamlFile(name=name, document=document)


def _load(text: str, name: str) -> Any:
    reader = YAML(typ="rt")
    reader.allow_duplicate_keys = False
    try:
        _refuse_aliases(text, name)
        return reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = (error.problem or "is not YAML").split("\n")[0]
        raise OptionError(problem, where=where, mend="write each key once, as 'key: value'") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise OptionError("is not YAML", where=name, mend="write 'key: value' on each line") from error


def _refuse_aliases(text: str, name: str) -> None:
    """A few lines of aliases to aliases stand for more than any machine can hold."""
    for event in YAML(typ="rt").parse(text):
        if isinstance(event, AliasEvent):
            where = f"{name}:{event.start_mark.line + 1}"
            raise OptionError("aliases are not taken", where=where, mend="write the value out")


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
    return message if message[1:2].isupper() else message[:1].lower() + message[1:]


def _mend(fault: Any, fields: Iterable[str], see: str) -> str:
    mend = str(fault["msg"]).partition("; ")[2]
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(fault["loc"][-1]), list(fields), n=1)
        return f"did you mean {close[0]}?" if close else f"take it out, or see {see}"
    return mend or f"see {see}"
