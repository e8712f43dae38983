"""What one version of DeepSpeed reads in a config: its fields, optimizers, schedulers and removed keys.

The facts of released versions lie in ``deepspeed_tables/``, made by ``tuners.deepspeed_source``. Those of an
installed version that has no table are read from its files, without importing it (or torch).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

from flyball.tuners.config.deepspeed_source import read_facts


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """One field of a section that DeepSpeed checks."""

    name: str
    alias: str | None = None
    """The name that its documentation uses, where that is another; either may be written, not both."""
    kinds: tuple[str, ...] = ()
    """Of int, float, bool, str, path, list, dict, section, null, never (no JSON will do); empty: anything."""
    choices: tuple[Any, ...] = ()
    """The values there are; of the items, where it is a list."""
    bounds: tuple[tuple[str, float], ...] = ()
    """``(("ge", 0), ("lt", 1))``."""
    deprecated: bool = False
    replacement: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheduler:
    """One learning-rate schedule of DeepSpeed's own."""

    parameters: frozenset[str]
    required: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DeepSpeedFacts:
    """What one version reads."""

    version: str
    sections: Mapping[str, Mapping[str, Field]]
    """Key path of a section to what may stand in it, by name and by alias; an unknown key is refused."""
    optimizers: frozenset[str]
    """Lower case; classes of ``torch.optim`` come on top."""
    schedulers: Mapping[str, Scheduler]
    removed: frozenset[str]
    """Key paths whose presence it refuses."""


@cache
def table_versions() -> tuple[str, ...]:
    """Return the versions that flyball has a table of, oldest first."""
    names = (entry.name for entry in files("flyball.tuners.config").joinpath("deepspeed_tables").iterdir())
    return tuple(sorted((name.removesuffix(".json") for name in names if name.endswith(".json")), key=_key))


@cache
def table(version: str) -> DeepSpeedFacts:
    """Return the facts of one of ``table_versions``."""
    text = files("flyball.tuners.config").joinpath("deepspeed_tables", f"{version}.json").read_text("utf-8")
    return _facts(version, json.loads(text))


@cache
def facts_of(version: str | None) -> DeepSpeedFacts:
    """Return the facts of a version: its table, the installed package's files, or the nearest older table.

    None means the newest that flyball knows. The answer's ``version`` tells what it really is of.
    """
    known = table_versions()
    if version is None:
        return table(known[-1])
    release = version.partition("+")[0]
    if release in known:
        return table(release)
    if (folder := _installed_folder(version)) is not None:
        found = read_facts(folder)
        if found["sections"]:
            return _facts(version, found)
    older = [each for each in known if _key(each) <= _key(release)]
    return table(older[-1] if older else known[0])


def versions_with(section: str, name: str) -> tuple[str, ...]:
    """Return the versions with a table in which a section has a field of this name."""
    return tuple(each for each in table_versions() if name in table(each).sections.get(section, ()))


def _installed_folder(version: str) -> Path | None:
    try:
        found = distribution("deepspeed")
    except PackageNotFoundError:
        return None
    folder = Path(str(found.locate_file("deepspeed")))
    return folder if found.version == version and folder.is_dir() else None


def _key(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in parts)


def _facts(version: str, data: Mapping[str, Any]) -> DeepSpeedFacts:
    return DeepSpeedFacts(
        version=version,
        sections={section: _fields(fields) for section, fields in data["sections"].items()},
        optimizers=frozenset(data["optimizers"]),
        schedulers={
            name: Scheduler(
                parameters=frozenset(made["parameters"]),
                required=frozenset(made["required"]),
            )
            for name, made in data["schedulers"].items()
        },
        removed=frozenset(data["removed"]),
    )


def _fields(data: Mapping[str, Mapping[str, Any]]) -> dict[str, Field]:
    found: dict[str, Field] = {}
    for name, facts in data.items():
        field = Field(
            name=name,
            alias=facts.get("alias"),
            kinds=tuple(facts.get("kinds", ())),
            choices=tuple(facts.get("choices", ())),
            bounds=tuple(facts.get("bounds", {}).items()),
            deprecated=facts.get("deprecated", False),
            replacement=facts.get("replacement"),
        )
        found[name] = field
        if field.alias:
            found[field.alias] = field
    return found
