"""Collectors of other packages, by entry point: a broken one takes nothing down."""

from importlib import metadata
from typing import Any

import pytest

from flyball.clock import SystemClock
from flyball.collectors.base import CollectorFailed
from flyball.collectors.registry import (
    ENTRY_POINT_GROUP,
    OWN,
    CollectorSettings,
    CollectorType,
    Surroundings,
    collector_types,
)
from flyball.collectors.runs import Runs


def make(settings: Any, surroundings: Surroundings) -> Any:
    raise AssertionError("nobody makes one here")


GOOD = CollectorType(name="mine", help="", settings=CollectorSettings, make=make)
NO_TYPE = object()
TAKEN = CollectorType(name="nvml", help="", settings=CollectorSettings, make=make)
NO_NAME = CollectorType(name="Bad Name!", help="", settings=CollectorSettings, make=make)


def found(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> dict[str, CollectorType]:
    entries = (metadata.EntryPoint(name, value, ENTRY_POINT_GROUP),)
    monkeypatch.setattr("flyball.collectors.registry.metadata.entry_points", lambda group: entries)
    return collector_types()


def test_a_good_one_is_there_by_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert found(monkeypatch, "other", f"{__name__}:GOOD")["mine"] is GOOD


@pytest.mark.parametrize(
    ("name", "value", "known_as", "why"),
    [
        ("gone", "no_such_package:TYPE", "gone", "ModuleNotFoundError"),
        ("gone", f"{__name__}:NO_SUCH", "gone", "AttributeError"),
        ("odd", f"{__name__}:NO_TYPE", "odd", "is no flyball.collectors.registry.CollectorType"),
        ("nvml", f"{__name__}:TAKEN", "nvml_2", "a collector named nvml exists already"),
        ("Bad Name!", f"{__name__}:NO_NAME", "bad_name", "'Bad Name!' is no name"),
    ],
)
def test_a_broken_one_fails_by_itself(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, known_as: str, why: str
) -> None:
    types = found(monkeypatch, name, value)
    assert set(types) == {*OWN, known_as}
    kind = types[known_as]
    clock = SystemClock()
    around = Surroundings(host="here", clock=clock, runs=Runs([], clock=clock, host="here"))
    settings = kind.settings.model_validate({"its_own": 1, "interval_seconds": 2.0})
    with pytest.raises(CollectorFailed) as failed:
        kind.make(settings, around)
    assert failed.value.reason == "entry_point_broken"
    assert why in failed.value.detail
    assert "mend or uninstall" in failed.value.detail
