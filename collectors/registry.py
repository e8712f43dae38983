"""Which kinds of collectors there are: ours, and others' through the entry point ``flyball.collectors``."""

import importlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flyball.clock import Clock
from flyball.collectors.base import Collector, CollectorFailed
from flyball.collectors.runs import Runs

ENTRY_POINT_GROUP = "flyball.collectors"
NAME_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""Of a collector: it becomes a label and a key of flyball.yaml."""


class CollectorSettings(BaseModel):
    """What every collector takes; a collector with more derives from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="Whether the collector runs.")
    interval_seconds: float = Field(default=1.0, ge=0.1, le=3600, description="From one reading to the next.")
    required: bool = Field(
        default=False, description="Whether the agent is not ready while this collector fails or stalls."
    )


class AnySettings(CollectorSettings):
    """Of a kind that could not be loaded: whatever was written for it stands."""

    model_config = ConfigDict(extra="allow", frozen=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a collector may use besides its settings."""

    host: str
    clock: Clock
    runs: Runs
    """The journals of this host, read once for all collectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CollectorType:
    """One kind of collector: what a file in this folder, or another package, registers."""

    name: str
    help: str
    settings: type[CollectorSettings]
    make: Callable[[Any, Surroundings], Collector]
    """Takes an instance of ``settings``; opens nothing that can fail: that is the first ``collect``'s."""
    shares_thread: bool = False
    """Whether a collection is so short that it may share a thread with others of the kind; the thread can
    then change between collections, though never while one runs."""


OWN = ("nvml", "dcgm", "workload", "allocator", "nccl", "host")
"""Modules of this folder, each with a ``TYPE``."""


def collector_types() -> dict[str, CollectorType]:
    """All kinds by name.

    What another package declares wrongly is a kind too: it fails with reason ``entry_point_broken`` for as
    long as it is there, and takes nothing else down.
    """
    found: dict[str, CollectorType] = {}
    for name in OWN:
        own = importlib.import_module(f"flyball.collectors.{name}").TYPE
        found[own.name] = own
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        loaded = _load(entry, found)
        found[loaded.name] = loaded
    return found


def _load(entry: metadata.EntryPoint, found: Mapping[str, CollectorType]) -> CollectorType:
    try:
        loaded = entry.load()
    except Exception as error:  # another package's import can raise anything
        return _broken(entry, found, f"{type(error).__name__}: {error}")
    if not isinstance(loaded, CollectorType):
        return _broken(entry, found, "is no flyball.collectors.registry.CollectorType")
    if not NAME_PATTERN.fullmatch(loaded.name):
        return _broken(entry, found, f"{loaded.name!r} is no name: small letters, digits and _ make one")
    if loaded.name in found:
        return _broken(entry, found, f"a collector named {loaded.name} exists already")
    return loaded


def _broken(entry: metadata.EntryPoint, found: Mapping[str, CollectorType], why: str) -> CollectorType:
    detail = f"entry point {entry.name} = {entry.value}: {why}; mend or uninstall the package"

    def make(settings: CollectorSettings, surroundings: Surroundings) -> Collector:
        del settings, surroundings
        raise CollectorFailed("entry_point_broken", detail)

    first = re.sub(r"[^a-z0-9_]", "_", entry.name.lower()).strip("_") or "unnamed"
    names = (first, *(f"{first}_{number}" for number in range(2, len(found) + 3)))
    name = next(each for each in names if each not in found)
    return CollectorType(name=name, help=detail, settings=AnySettings, make=make)
