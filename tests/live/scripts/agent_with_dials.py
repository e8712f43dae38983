"""Runs the command line as ``flyball`` does, with two collectors of its own beside those of the journals.

``dials`` reads what a file says, ``planned`` gives many series that rise and fall at times known beforehand.
"""

import json
import random
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field

from flyball.agent.cli import run
from flyball.agent.wiring import Wiring
from flyball.collectors import catalog
from flyball.collectors.base import Sample
from flyball.collectors.registry import CollectorSettings, CollectorType, Surroundings, collector_types

JOURNALS = ("workload", "allocator", "nccl")


@dataclass(frozen=True)
class Plan:
    """Each series is 1 for some time, once, and 0 before and after; a pure function of the wall clock."""

    series: int
    begin: float
    """Seconds since the epoch; as of then the series rise, one by one at random."""
    spread_seconds: float
    """Within which all have risen."""
    high_seconds: float

    @cached_property
    def rises(self) -> list[float]:
        """When each rises."""
        draw = random.Random(7)
        return [self.begin + self.spread_seconds * draw.random() for _ in range(self.series)]

    @property
    def end(self) -> float:
        """From then on all are 0."""
        return self.begin + self.spread_seconds + self.high_seconds

    def value(self, number: int, now: float) -> float:
        """0 or 1."""
        return float(0 <= now - self.rises[number] < self.high_seconds)


class PlannedSettings(CollectorSettings):
    series: int = Field(default=0, description="How many.")
    begin: float = Field(default=0.0, description="Of the plan.")
    spread_seconds: float = Field(default=1.0, description="Of the plan.")
    high_seconds: float = Field(default=1.0, description="Of the plan.")


class Planned:
    """Power of GPUs that there are not."""

    name = "planned"

    def __init__(self, settings: PlannedSettings, surroundings: Surroundings) -> None:
        del surroundings
        self.interval_seconds = settings.interval_seconds
        given = settings.model_dump(include={"series", "begin", "spread_seconds", "high_seconds"})
        self._plan = Plan(**given)

    def collect(self) -> Iterable[Sample]:
        now = time.time()
        for number in range(self._plan.series):
            labels, value = ("planned", str(number), ""), self._plan.value(number, now)
            yield Sample(metric=catalog.GPU_POWER, labels=labels, value=value, time=now)

    def close(self) -> None:
        return


class DialsSettings(CollectorSettings):
    file: Path | None = Field(default=None, description="JSON: [metric, [label, ...], value] of each series.")


class Dials:
    """What a file says."""

    name = "dials"

    def __init__(self, settings: DialsSettings, surroundings: Surroundings) -> None:
        del surroundings
        self.interval_seconds, self._file = settings.interval_seconds, settings.file

    def collect(self) -> Iterable[Sample]:
        if self._file is None or not self._file.exists():
            return
        for name, labels, value in json.loads(self._file.read_text("utf-8")):
            metric = catalog.METRICS[name]
            yield Sample(metric=metric, labels=tuple(labels), value=float(value), time=time.time())

    def close(self) -> None:
        return


OWN = {
    "dials": CollectorType(name="dials", help="As told.", settings=DialsSettings, make=Dials),
    "planned": CollectorType(name="planned", help="As planned.", settings=PlannedSettings, make=Planned),
}


def types() -> dict[str, CollectorType]:
    found = collector_types()
    return {**OWN, **{name: found[name] for name in JOURNALS}}


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], wiring=Wiring(collector_types=types)))
