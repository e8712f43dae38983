"""Which kinds of collectors there are: ours, and others' through the entry point ``flyball.collectors``."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flyball.clock import Clock
from flyball.collectors.base import Collector
from flyball.collectors.runs import Runs
from flyball.errors import OptionError

ENTRY_POINT_GROUP = "flyball.collectors"


class CollectorSettings(BaseModel):
    """What every collector takes; a collector with more derives from it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enabled: bool = Field(default=True, description="Whether the collector runs.")
    interval_seconds: float = Field(default=1.0, ge=0.1, le=3600, description="From one reading to the next.")
    required: bool = Field(
        default=False, description="Whether the agent is not ready while this collector fails or stalls."
    )


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


OWN = ("nvml", "dcgm", "workload", "allocator", "nccl", "host")
"""Modules of this folder, each with a ``TYPE``."""


def collector_types() -> dict[str, CollectorType]:
    """All kinds by name.

    Raises:
        OptionError: an entry point does not load, is no CollectorType, or takes a name that is taken.
    """
    found: dict[str, CollectorType] = {}
    for name in OWN:
        own = importlib.import_module(f"flyball.collectors.{name}").TYPE
        found[own.name] = own
    for entry in metadata.entry_points(group=ENTRY_POINT_GROUP):
        _take_in(found, entry)
    return found


def _take_in(found: dict[str, CollectorType], entry: metadata.EntryPoint) -> None:
    mend = "mend or uninstall the package that declares it"
    where = f"entry point {entry.name} = {entry.value}"
    try:
        loaded = entry.load()
    except Exception as error:  # another package's import can raise anything
        raise OptionError(f"{type(error).__name__}: {error}", where=where, mend=mend) from error
    if not isinstance(loaded, CollectorType):
        raise OptionError("is no flyball.collectors.registry.CollectorType", where=where, mend=mend)
    if loaded.name in found:
        raise OptionError(f"a collector named {loaded.name} exists already", where=where, mend=mend)
    found[loaded.name] = loaded
