"""Step records of all ranks as numbers on one time line, read on as the journals grow."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from flyball.collectors.journal import RankJournal, Record

Array = npt.NDArray[np.float64]


def number(value: Any) -> float:
    """Return a field of a record as a float; what is not a number counts as nothing."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0


@dataclass(kw_only=True, slots=True)
class RankSeries:
    """One rank's step boundaries of one engine; ``read`` takes in what its journal gained."""

    journal: RankJournal
    engine: int
    samples_a_forward: float | None = None
    """Counts each forward as so many samples; None counts the rows that were seen entering it."""
    boundary: list[float] = field(default_factory=list)
    """Number of the step boundary at which each record ends."""
    seconds: list[float] = field(default_factory=list)
    rows: list[float] = field(default_factory=list)
    """First dimension of what entered forward, added up."""
    samples: list[float] = field(default_factory=list)
    counted: list[float] = field(default_factory=list)
    """Samples without those whose step the optimizer skipped."""
    tokens: list[float] = field(default_factory=list)
    forwards: list[float] = field(default_factory=list)
    skipped: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    witnesses: list[Record] = field(default_factory=list)
    _position: int = 0

    def read(self) -> int:
        """Take in the records that are new; return how many steps came."""
        before = len(self.records)
        for record in self.journal.records[self._position :]:
            if record["kind"] == "step" and record.get("engine", 0) == self.engine:
                self._take(record)
            elif record["kind"] == "witness":
                self.witnesses.append(record)
        self._position = len(self.journal.records)
        return len(self.records) - before

    def _take(self, record: Record) -> None:
        count = max(1.0, number(record.get("count", 1)))
        skipped = min(count, number(record.get("skipped")))
        last = self.boundary[-1] if self.boundary else 0.0
        kept = (count - skipped) / count
        self.boundary.append(max(last + count, number(record.get("step"))))
        self.seconds.append(max(0.0, number(record.get("seconds"))))
        rows, forwards = number(record.get("samples")), number(record.get("forwards"))
        self.rows.append(rows)
        self.samples.append(rows if self.samples_a_forward is None else forwards * self.samples_a_forward)
        self.counted.append(self.samples[-1] * kept)
        self.tokens.append(number(record.get("tokens")) * kept)
        self.forwards.append(forwards)
        self.skipped.append(skipped)
        self.clock.append(number(record.get("clock")))
        self.records.append(record)

    def on(self, grid: Array, values: list[float]) -> Array:
        """Return ``values`` summed up between the boundaries of ``grid`` (one fewer than its length)."""
        edges = np.array([self.boundary[0] - self.first_count, *self.boundary])
        total = np.concatenate(([0.0], np.cumsum(values)))
        return np.diff(np.interp(grid, edges, total))

    @property
    def first_count(self) -> float:
        """Boundaries that the first record stands for."""
        return max(1.0, number(self.records[0].get("count", 1)))


def busiest_engine(journals: Iterable[RankJournal]) -> int:
    """Return the number of the engine that made most step records; the first among equals."""
    made: dict[int, int] = {}
    for journal in journals:
        for record in journal.of_kind("step"):
            engine = int(number(record.get("engine", 0)))
            made[engine] = made.get(engine, 0) + 1
    return min(made, key=lambda engine: (-made[engine], engine), default=0)


def header_of(journal: RankJournal, engine: int) -> Record | None:
    """Return the header of one engine, else the journal's first."""
    headers = journal.of_kind("header")
    return next((header for header in headers if header.get("engine", 0) == engine), journal.header)


def busiest_header(journals: Mapping[int, RankJournal]) -> Record | None:
    """Return a header of the engine that trains, of the first rank that has one."""
    engine = busiest_engine(journals.values())
    found = (header_of(journal, engine) for journal in journals.values())
    return next((header for header in found if header is not None), None)


def samples_a_forward(header: Record) -> float | None:
    """Return the micro batch where the user said that rows are no samples, else None."""
    return number(header.get("micro_batch")) if header.get("samples_from") == "config" else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Replicas:
    """How the ranks of a job share its data."""

    world_size: int
    data_parallel_size: int

    def total(self, of_rank: Iterable[Array]) -> Array:
        """Add up what the data-parallel replicas were fed, from what each rank reports (one array a rank).

        Ranks that hold parts of one replica (pipeline stages, tensor slices) report the same samples, and a
        stage in the middle of a pipeline may report none: the mean of those that do stands for each replica.
        """
        rows = np.array(list(of_rank))
        if self.data_parallel_size >= self.world_size:
            return np.asarray(rows.sum(axis=0), dtype=np.float64)
        feeding = rows[rows.sum(axis=1) > 0]
        one = feeding.mean(axis=0) if len(feeding) else rows[0]
        return np.asarray(one * self.data_parallel_size, dtype=np.float64)


def replicas_of(headers: Mapping[int, Record]) -> Replicas:
    """Read the job's shape from the headers; without a size in them every rank counts as a replica."""
    first = headers[min(headers)]
    world = max(1, int(number(first.get("world_size"))) or len(headers))
    parallel = int(number(first.get("data_parallel_size"))) or world
    return Replicas(world_size=world, data_parallel_size=min(world, max(1, parallel)))


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeLine:
    """Steps that every rank has made, in order; each array has one value a step (or ``count`` steps)."""

    boundary: Array
    """Number of the boundary at which the step ends."""
    count: Array
    seconds: Array
    """Of the rank that took longest over all of them."""
    samples: Array
    """Of all replicas, skipped steps left out."""
    tokens: Array
    skipped: Array
    clock: Array
    """The machine's monotonic clock at the boundary, rank of the lowest number."""


def line_up(series: Mapping[int, RankSeries], replicas: Replicas) -> TimeLine | None:
    """Put the ranks on one grid of boundaries, or return None while one of them has made no step.

    Ranks move in lockstep, but a rate-limited record stands for several steps and need not end where another
    rank's does: the coarsest rank gives the grid and the others are interpolated onto it.
    """
    if any(not one.records for one in series.values()):
        return None
    start = max(one.boundary[0] - one.first_count for one in series.values())
    end = min(one.boundary[-1] for one in series.values())
    coarsest = min(series.values(), key=lambda one: len(one.records))
    inner = [edge for edge in coarsest.boundary if start < edge <= end]
    if not inner:
        return None
    grid = np.array([start, *inner])
    seconds = [one.on(grid, one.seconds) for one in series.values()]
    first = series[min(series)]
    return TimeLine(
        boundary=grid[1:],
        count=np.diff(grid),
        seconds=max(seconds, key=lambda row: float(row.sum())),
        samples=replicas.total(one.on(grid, one.counted) for one in series.values()),
        tokens=replicas.total(one.on(grid, one.tokens) for one in series.values()),
        skipped=np.max([one.on(grid, one.skipped) for one in series.values()], axis=0),
        clock=np.interp(grid[1:], first.boundary, first.clock),
    )


def losses(series: Mapping[int, RankSeries], replicas: Replicas) -> list[tuple[float, float]]:
    """Return (samples seen by all replicas, mean loss over ranks) for every step with a known loss.

    A loss that is not finite is kept, unless the optimizer skipped the step: so fp16 finds its scale.
    """
    known: dict[float, dict[int, float]] = {}
    for rank, one in series.items():
        for boundary, record in zip(one.boundary, one.records, strict=True):
            loss = record.get("loss")
            if isinstance(loss, int | float) and (math.isfinite(loss) or not number(record.get("skipped"))):
                known.setdefault(boundary, {})[rank] = float(loss)
    if not known:
        return []
    knowing = max(len(of_ranks) for of_ranks in known.values())
    whole = sorted(boundary for boundary, of_ranks in known.items() if len(of_ranks) == knowing)
    grid = np.array([0.0, *whole])
    seen = np.cumsum(replicas.total(one.on(grid, one.samples) for one in series.values()))
    means = [float(np.mean(list(known[boundary].values()))) for boundary in whole]
    return list(zip(seen.tolist(), means, strict=True))
