"""Reads a DeepSpeed config from a file: plain JSON, known keys, every fault with its line."""

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from flyball.errors import ConfigError
from flyball.tuners.config.json_document import JsonError, parse

MAX_BYTES = 16 * 2**20
MAX_KEYS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownKeys:
    """The keys that DeepSpeed reads."""

    top_level: frozenset[str]
    strict_sections: Mapping[str, frozenset[str]]
    """By key path: sections in which DeepSpeed refuses a key that it does not know."""
    loose_sections: Mapping[str, frozenset[str]]
    """By key path: sections in which DeepSpeed passes over a key that it does not know."""
    removed_in: Mapping[str, frozenset[str]]
    """By version: key paths that DeepSpeed refuses from there on."""


@cache
def known_keys() -> KnownKeys:
    """Return the key list kept in ``config_keys.json``, over every DeepSpeed that flyball supports."""
    data = json.loads(files("flyball.tuners.config").joinpath("config_keys.json").read_text("utf-8"))
    return KnownKeys(
        top_level=frozenset(data["top_level"]),
        strict_sections=_sets(data["strict_sections"]),
        loose_sections=_sets(data["loose_sections"]),
        removed_in=_sets(data["removed_in"]),
    )


def _sets(lists: Mapping[str, list[str]]) -> dict[str, frozenset[str]]:
    return {name: frozenset(keys) for name, keys in lists.items()}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigDocument:
    """A config and where each of its keys stands."""

    values: dict[str, Any]
    path: Path | None = None
    places: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Key path to line and column, both from 1."""

    def position(self, key: str) -> tuple[int, int] | None:
        """Return line and column of a key, or of the nearest parent of one that is absent."""
        while key and key not in self.places:
            key = key.rpartition(".")[0]
        return self.places.get(key)

    def place(self, key: str) -> str:
        """``ds.json:12: zero_optimization.stage``; a key that is absent is shown at its nearest parent."""
        if self.path is None:
            return key
        position = self.position(key)
        line = f":{position[0]}" if position else ""
        return f"{self.path}{line}: {key}" if key else f"{self.path}{line}"


def load_config(path: Path) -> dict[str, Any]:
    """Return the config at ``path``.

    Raises:
        ConfigError: missing, not a file, empty, not plain JSON, not an object, or with an unknown key.
    """
    return load_document(path).values


def load_document(path: Path, data: bytes | None = None) -> ConfigDocument:
    """Return the config at ``path`` with its positions; raises ConfigError as ``load_config`` does.

    Args:
        data: what ``read_config`` returned for it, where the file has been read: a pipe gives it only once.
    """
    try:
        document = parse_document(path, read_config(path) if data is None else data)
    except JsonError as fault:
        raise ConfigError(fault.what, where=f"{path}:{fault.line}:{fault.column}", mend=fault.mend) from fault
    check_keys(document)
    return document


def parse_document(path: Path, data: bytes) -> ConfigDocument:
    """Return the config of a file's bytes, whatever its keys.

    Raises:
        ConfigError: empty, no text, not an object, or with more keys than any config has.
        JsonError: not plain JSON.
    """
    values, places = parse(config_text(path, data))
    return document_of(path, values, places)


def document_of(path: Path, values: Any, places: Mapping[str, tuple[int, int]]) -> ConfigDocument:
    """Return the config that was read from a file. Raises ConfigError as ``parse_document`` does."""
    if not isinstance(values, dict):
        raise ConfigError(
            "the config is not a JSON object", where=str(path), mend='write {"key": value, ...}'
        )
    if len(places) > MAX_KEYS:
        raise ConfigError(
            f"has {len(places)} keys, more than {MAX_KEYS}", where=str(path), mend="give a DeepSpeed config"
        )
    return ConfigDocument(values=values, path=path, places=places)


def read_config(path: Path) -> bytes:
    """Return a config file byte for byte; raises ConfigError as ``load_config`` does."""
    try:
        if path.is_dir():
            raise ConfigError("is a folder", where=str(path), mend="give the config file itself")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise ConfigError(
            "no such file", where=str(path), mend="give the path of a DeepSpeed config"
        ) from error
    except OSError as error:
        mend = "mend its rights, or give another file"
        raise ConfigError(f"cannot be read ({error.strerror})", where=str(path), mend=mend) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"is larger than {MAX_BYTES >> 20} MiB", where=str(path), mend="give a DeepSpeed config"
        )
    return data


def config_text(path: Path, data: bytes) -> str:
    """Return the text of a config's bytes. Raises ConfigError where there is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("is not UTF-8 text", where=str(path), mend="save it as UTF-8 JSON") from error
    if not text.strip():
        raise ConfigError("is empty", where=str(path), mend='write at least {"train_batch_size": ...}')
    return text


def check_keys(document: ConfigDocument) -> None:
    """Refuse a key that no supported DeepSpeed reads; a leading underscore marks a private note.

    Raises:
        ConfigError: the key's place and the nearest key that exists.
    """
    for key, allowed in _unknown(document.values):
        raise ConfigError("DeepSpeed knows no such key", where=document.place(key), mend=_mend(key, allowed))


def check_path(path: str, *, where: str) -> None:
    """Refuse a dotted key path that no supported DeepSpeed reads.

    Raises:
        ConfigError: at ``where``, with the nearest key that exists.
    """
    keys, parts = known_keys(), path.split(".")
    sections = {"": keys.top_level, **keys.loose_sections, **keys.strict_sections}
    for depth, name in enumerate(parts):
        section = ".".join(parts[:depth])
        if name not in sections.get(section, (name,)):
            close = nearest(name, sections[section])
            meant = f"{section}.{close}".lstrip(".")
            raise ConfigError(
                f"DeepSpeed knows no key {'.'.join(parts[: depth + 1])}",
                where=where,
                mend=f"did you mean {meant!r}?" if close else "see DeepSpeed's documentation",
            )


def _mend(key: str, allowed: frozenset[str]) -> str:
    section, _, name = key.rpartition(".")
    if close := nearest(name, allowed):
        return f"did you mean {close!r}?"
    return "remove it" if section else "remove it, or start its name with '_' if it is a note"


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """Return the allowed name that a misspelt one most likely meant, or None."""
    close = difflib.get_close_matches(name.lower(), sorted(allowed), n=1, cutoff=0.6)
    return close[0] if close else None


def _unknown(values: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    keys = known_keys()
    for key in values:
        if key not in keys.top_level and not key.startswith("_"):
            yield key, keys.top_level
    for section, allowed in keys.strict_sections.items():
        content = read(values, section)
        if isinstance(content, Mapping):
            # DeepSpeed drops every "auto" entry of a section before it checks the names.
            yield from (
                (f"{section}.{key}", allowed)
                for key, value in content.items()
                if key not in allowed and value != "auto"
            )


def read(values: Mapping[str, Any], key: str, default: Any = None) -> Any:
    """Return the value at a dotted key path, or ``default`` where it or a parent is absent."""
    here: Any = values
    for part in key.split("."):
        # dict first: asking for the abstract class is most of the cost of a rule.
        if not isinstance(here, (dict, Mapping)) or part not in here:
            return default
        here = here[part]
    return here


def stands(values: Mapping[str, Any], key: str) -> bool:
    """Whether a key path is there, whatever its value, null included."""
    section, _, name = key.rpartition(".")
    parent = read(values, section) if section else values
    return isinstance(parent, Mapping) and name in parent


def known(values: Mapping[str, Any], key: str, default: Any) -> Any:
    """Like ``read``, and ``default`` also for null and for the "auto" that transformers fills in."""
    value = read(values, key)
    return default if value is None or value == "auto" else value
