"""What the CUDA allocator says of its segments, with an allocator made up."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from flyball.runner.probe.readings import CudaReadings

VARIABLE = "PYTORCH_CUDA_ALLOC_CONF"
ASKED = "max_split_size_mb:64,expandable_segments:True"


class Allocator:
    """The part of torch that is asked, with segments of one kind on device 0 and of the other on device 1."""

    def __init__(self, expandable: bool | None, reserved: int = 8) -> None:
        """Take whether segments are expandable, None for a torch that does not say, and what is reserved."""
        self._kinds, self.reserved, self.walks = expandable, reserved, 0
        self.cuda = SimpleNamespace(Event=lambda: None, memory_snapshot=self._snapshot)
        self.float32 = None
        self._C = SimpleNamespace(_cuda_memoryStats=self._statistics)

    def empty(self, *shape: Any, **options: Any) -> None:
        return None

    def _statistics(self, device: int) -> dict[str, Any]:
        both = {"all": {"current": self.reserved, "peak": self.reserved}}
        names = ("allocated_bytes", "reserved_bytes", "active_bytes", "inactive_split_bytes")
        return {**dict.fromkeys(names, both), "num_alloc_retries": 0, "num_ooms": 0}

    def _snapshot(self) -> list[dict[str, Any]]:
        self.walks += 1
        if self.reserved == 0:
            return []
        own, other = (
            ({}, {})
            if self._kinds is None
            else ({"is_expandable": v} for v in (self._kinds, not self._kinds))
        )
        return [{"device": 0, "blocks": [], **own}, {"device": 1, "blocks": [], **other}]


class WithoutSegments(Allocator):
    """backend:cudaMallocAsync."""

    def _snapshot(self) -> list[dict[str, Any]]:
        raise RuntimeError("no snapshot of this backend")


def says(readings: CudaReadings) -> bool:
    return bool(json.loads(readings.memory()).get("expandable", False))


@pytest.mark.parametrize(
    ("case", "allocator", "asked", "expandable"),
    [
        ("asked for and granted", Allocator(True), ASKED, True),
        ("asked for and not granted", Allocator(False), ASKED, False),
        ("asked for, and torch does not tell", Allocator(None), ASKED, True),
        ("asked for, of a backend without segments", WithoutSegments(True), ASKED, False),
        ("not asked for", Allocator(False), "", False),
    ],
)
def test_expandable_is_what_the_segments_are_and_not_what_was_asked_for(
    case: str, allocator: Allocator, asked: str, expandable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, asked)
    readings = CudaReadings(allocator, 0)
    assert [says(readings), says(readings)] == [expandable, expandable]


def test_the_segments_are_looked_at_once_and_when_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, ASKED)
    allocator = Allocator(False, reserved=0)
    readings = CudaReadings(allocator, 0)
    says(readings)
    assert allocator.walks == 0
    allocator.reserved = 8
    assert [says(readings), says(readings)] == [False, False]
    assert allocator.walks == 1


def test_segments_that_the_script_itself_asked_for_are_seen_by_the_next_walk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("flyball.runner.probe.readings.SNAPSHOT_INTERVAL_SECONDS", 0.0)
    readings = CudaReadings(Allocator(True), 0)
    assert says(readings)
    refused = CudaReadings(WithoutSegments(True), 0)
    assert not says(refused)


def test_live_tensors_are_counted_by_the_raw_call() -> None:
    assert CudaReadings(Allocator(True, reserved=24), 0).allocated() == 24
