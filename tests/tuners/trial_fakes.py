"""Journals and GPU readings of short runs, made up second by second."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample
from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal

BEGUN = 1_000_000.0
"""When the first step of every run begins, seconds since the epoch."""
UUID = "GPU-a"


def header(rank: int = 0, **other: Any) -> dict[str, Any]:
    usual = {
        "kind": "header",
        "schema": 1,
        "time": BEGUN - 2.0,
        "clock": 8.0,
        "rank": rank,
        "engine": 0,
        "pid": 100 + rank,
        "started": 5.0,
        "purpose": "trial",
        "host": "h",
        "device": "cuda:0",
        "gpu_uuid": UUID,
        "world_size": 1,
    }
    return {**usual, **other}


def record(kind: str, second: float, **other: Any) -> dict[str, Any]:
    """A record so many seconds after the first step began."""
    return {"kind": kind, "time": BEGUN + second, "clock": 10.0 + second, **other}


def steps(count: int, *, begin: int = 0, **other: Any) -> list[dict[str, Any]]:
    """Steps of one second each; ``other`` may hold functions of the step's number."""
    return [
        record(
            "step",
            begin + number,
            engine=0,
            step=begin + number,
            seconds=1.0,
            samples=8,
            tokens=64,
            **{name: value(number) if callable(value) else value for name, value in other.items()},
        )
        for number in range(1, count + 1)
    ]


def journal(records: Iterable[Mapping[str, Any]], rank: int = 0) -> RankJournal:
    return RankJournal(path=Path(f"/run/rank-{rank}.jsonl"), records=[header(rank), *records])


class LaidGpus:
    """A collector that gives one reading after the other."""

    name, interval_seconds = "nvml", 1.0

    def __init__(self, readings: list[list[Sample]]) -> None:
        self._readings = iter(readings)

    def collect(self) -> Iterable[Sample]:
        return next(self._readings)

    def close(self) -> None:
        pass


def gpu_sample(metric: Metric, second: float, value: float, *more: str, uuid: str = UUID) -> Sample:
    return Sample(metric=metric, labels=("h", "0", uuid, *more), value=value, time=BEGUN + second)


def recorded(readings: list[list[Sample]], played: Iterable[Metric]) -> GpuRecorder:
    """A recorder that has taken these readings."""
    gpus = LaidGpus(readings)
    recorder = GpuRecorder(lambda: gpus, played=tuple(played))
    for _ in readings:
        assert recorder.take()
    return recorder


def sm_utilization(by_second: Mapping[float, float], *, uuid: str = UUID) -> list[list[Sample]]:
    metric = catalog.GPU_SM_UTILIZATION
    return [
        [gpu_sample(metric, second, value, "gpm", uuid=uuid)] for second, value in sorted(by_second.items())
    ]
