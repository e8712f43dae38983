"""What one run did, from its journals alone (DESIGN section 4)."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal, Record
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Measurement
from flyball.tuners.knobs.precision import NAME as PRECISION
from flyball.tuners.measurement.energy import energy, energy_so_far
from flyball.tuners.measurement.interval import FEWEST_STEPS, Rate, rate
from flyball.tuners.measurement.series import (
    RankSeries,
    Replicas,
    TimeLine,
    busiest_engine,
    header_of,
    line_up,
    losses,
    number,
    replicas_of,
    samples_a_forward,
)
from flyball.tuners.measurement.telemetry import telemetry
from flyball.tuners.measurement.warmup import ALWAYS_DROPPED_STEPS, compile_passes, warmup
from flyball.tuners.objective import Objective

ENGINE = "engine"
"""Name of the witness that the journal's header is."""
ALLOCATOR = "allocator"
"""Name of the witness that the ranks' memory is."""
FORMAT_OF_TYPE = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
"""torch's name of a type to DeepSpeed's."""
NOT_ASKED = "its study does not compare energy"
"""Waiting for the counter and looking for other processes takes time, which other studies need not spend."""


class Fault(StrEnum):
    """Every way in which a run can fail to be measured."""

    NO_JOURNAL = "no_journal"
    MISSING_RANK = "missing_rank"
    TOO_FEW_STEPS = "too_few_steps"
    NO_SAMPLES = "no_samples"
    FED_BATCH = "fed_batch"
    DIVERGED = "diverged"
    NO_ENERGY = "no_energy"


OUTCOME_OF_FAULT: Mapping[Fault, OutcomeKind] = {
    Fault.FED_BATCH: OutcomeKind.INVALID_CONFIG,
    Fault.DIVERGED: OutcomeKind.DIVERGED,
    Fault.NO_ENERGY: OutcomeKind.COMPLETED,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Invalid:
    """Why a run has no measurement, with the mend where there is one."""

    fault: Fault
    reason: str

    @property
    def outcome(self) -> OutcomeKind:
        """How a trial that ended well otherwise is to be recorded."""
        return OUTCOME_OF_FAULT.get(self.fault, OutcomeKind.CRASHED)


@dataclass(kw_only=True, slots=True)
class Reading:
    """The journals of one run, taken in as they grow; every question is answered from what was read."""

    series: dict[int, RankSeries] = field(default_factory=dict)
    headers: dict[int, Record] = field(default_factory=dict)
    ended: bool = False
    """No more will come: a warm-up that seems longer than it did when the run was stopped leaves enough."""
    _settled: bool = False
    _warm: tuple[int, int, int] | None = None
    """The last answer of ``warmup``: steps and witnesses that it is of, and how many steps it drops."""

    def read(self, journals: Mapping[int, RankJournal]) -> int:
        """Take in what the journals gained; return how many step records came, over all ranks."""
        if not self._settled or self.series.keys() != journals.keys():
            self._choose_engine(journals)
        return sum(one.read() for one in self.series.values())

    def _choose_engine(self, journals: Mapping[int, RankJournal]) -> None:
        engine = busiest_engine(journals.values())
        known = {rank: header_of(journal, engine) for rank, journal in journals.items()}
        self.headers = {rank: header for rank, header in known.items() if header is not None}
        self.series = {
            rank: RankSeries(
                journal=journals[rank], engine=engine, samples_a_forward=samples_a_forward(header)
            )
            for rank, header in self.headers.items()
        }
        # Which engine trains is seen from its steps: look again until every rank has made two.
        self._settled = all(len(journals[rank].steps(engine)) >= 2 for rank in self.headers)

    @property
    def replicas(self) -> Replicas:
        """How the ranks share the data."""
        return replicas_of(self.headers)

    def missing(self) -> Invalid | None:
        """Say which rank has written nothing yet, if one has not."""
        if not self.headers:
            reason = "no DeepSpeed engine was made: the command must reach deepspeed.initialize"
            return Invalid(fault=Fault.NO_JOURNAL, reason=reason)
        silent = sorted(set(range(self.replicas.world_size)) - set(self.headers))
        if silent:
            reason = f"rank {silent[0]} of {self.replicas.world_size} wrote no journal"
            return Invalid(fault=Fault.MISSING_RANK, reason=reason)
        return None

    def fed_batch(self) -> float | None:
        """Return the median rows a forward over all ranks' steps, or None where none was seen."""
        fed = [
            rows / forwards
            for one in self.series.values()
            for rows, forwards in zip(one.rows, one.forwards, strict=True)
            if forwards > 0 and rows > 0
        ]
        return statistics.median(fed) if fed else None

    def forwards_a_step(self) -> float | None:
        """Return the median forwards between two steps of the optimizer, or None where none was seen."""
        made = [
            forwards / max(1.0, number(record.get("count", 1)))
            for one in self.series.values()
            for forwards, record in zip(one.forwards, one.records, strict=True)
            if forwards > 0
        ]
        return statistics.median(made) if made else None

    def wrong_batch(self) -> Invalid | None:
        """Say so when what was fed is not the micro batch that the engine was told."""
        fed = self.fed_batch()
        first = self.headers[min(self.headers)]
        told = number(first.get("micro_batch"))
        if samples_a_forward(first) is not None or fed is None or told <= 0:
            return None
        if math.isclose(fed, told, rel_tol=1e-9):
            return None
        reason = (
            f"the script feeds {fed:g} samples a forward while train_micro_batch_size_per_gpu is {told:g}: "
            "let the script read its batch size from the config, or name its option with "
            "--map train_micro_batch_size_per_gpu=--your-batch-size-option; "
            "where rows are packed or paired on purpose: --samples-from config"
        )
        return Invalid(fault=Fault.FED_BATCH, reason=reason)

    def line(self) -> TimeLine | None:
        """Return the steps that all ranks have made, or None before the first."""
        return line_up(self.series, self.replicas) if self.series else None

    def warmup(self, line: TimeLine) -> int:
        """Return how many leading steps of a line belong to warm-up."""
        witnesses = self.series[min(self.series)].witnesses
        if self._warm is None or self._warm[:2] != (len(line.seconds), len(witnesses)):
            start = warmup(line.seconds, line.clock, line.skipped, compile_passes(witnesses))
            self._warm = len(line.seconds), len(witnesses), start
        start = self._warm[2]
        most = max(ALWAYS_DROPPED_STEPS, len(line.seconds) - FEWEST_STEPS)
        return min(start, most) if self.ended else start

    def steady_rate(self, line: TimeLine) -> Rate | None:
        """Return the samples a second after warm-up, or None while there are too few steps."""
        start = self.warmup(line)
        return rate(line.samples[start:], line.seconds[start:])

    def steady_steps(self, line: TimeLine) -> Rate | None:
        """Return the optimizer's steps a second after warm-up, or None while there are too few."""
        start = self.warmup(line)
        return rate(line.count[start:] - line.skipped[start:], line.seconds[start:])

    def steady_merit(self, line: TimeLine, objective: Objective, gpus: GpuRecorder | None) -> Rate | None:
        """Return an objective's merit after warm-up, as far as it can be told while the run goes on."""
        if objective is Objective.THROUGHPUT:
            return self.steady_rate(line)
        if objective is Objective.LATENCY:
            return self.steady_steps(line)
        if gpus is None:
            return None
        start = self.warmup(line)
        return energy_so_far(line, self.series[min(self.series)], self.headers, gpus, start=start)


def measure(
    journals: Mapping[int, RankJournal],
    *,
    startup_seconds: float | None = None,
    device_memory_bytes: int | None = None,
    gpus: GpuRecorder | None = None,
    objective: Objective = Objective.THROUGHPUT,
) -> Measurement | Invalid:
    """Return what a run did, or the named reason why that cannot be said.

    Args:
        journals: by rank, as far as written.
        startup_seconds: spawn to the end of the first step, from the launcher.
        device_memory_bytes: memory of one device (of the host on CPU), which peaks are held against.
        gpus: what was sampled beside the run; None where nothing was.
        objective: what its study compares it by.
    """
    reading = Reading(ended=True)
    reading.read(journals)
    fault = reading.missing() or reading.wrong_batch()
    line = None if fault else reading.line()
    if fault or line is None:
        return fault or Invalid(fault=Fault.TOO_FEW_STEPS, reason="a rank made no step")
    seen = losses(reading.series, reading.replicas)
    fault = diverged(seen) or too_little(reading, line)
    steady = reading.steady_rate(line)
    if fault or steady is None:
        return fault or Invalid(fault=Fault.NO_SAMPLES, reason="every step was skipped by the optimizer")
    start = reading.warmup(line)
    window = line.seconds[start:]
    joules: Rate | str = NOT_ASKED
    if objective is Objective.ENERGY:
        first = reading.series[min(reading.series)]
        joules = energy(line, first, reading.headers, gpus, start=start)
        if isinstance(joules, str):
            return Invalid(fault=Fault.NO_ENERGY, reason=f"no energy figure: {joules}")
    stepping = reading.steady_steps(line)
    return Measurement(
        samples_per_second=steady.interval(),
        steps_per_second=stepping.interval() if stepping else None,
        samples_per_joule=joules.interval() if isinstance(joules, Rate) else None,
        objective=objective,
        tokens_per_second=float(line.tokens[start:].sum() / window.sum()) or None,
        steps=int(line.count[start:].sum()),
        warmup_steps=int(line.count[:start].sum()),
        seconds=float(window.sum()),
        skipped_steps=round(float(line.skipped[start:].sum())),
        peak_reserved_bytes=peak_memory(reading),
        peak_allocated_bytes=most_allocated(reading, "peak_allocated"),
        resting_allocated_bytes=most_allocated(reading, "allocated"),
        kept_activation_bytes=kept_activations(reading),
        device_memory_bytes=device_memory_bytes,
        communicated_bytes_per_step=communicated(reading, line, start),
        losses=tuple(seen),
        step_seconds_median=float(np.median(window / line.count[start:])),
        startup_seconds=startup_seconds,
        witnesses={
            ENGINE: engine_facts(reading.headers[min(reading.headers)]),
            ALLOCATOR: allocator_facts(reading),
            **witnesses(reading.series[min(reading.series)].witnesses),
        },
        fed_batch=reading.fed_batch(),
        forwards_a_step=reading.forwards_a_step(),
        telemetry=telemetry(
            reading.series,
            journals,
            reading.headers,
            gpus,
            world_size=reading.replicas.world_size,
            samples=float(line.samples[start:].sum()),
            after_record=start,
        ),
    )


def diverged(seen: list[tuple[float, float]]) -> Invalid | None:
    """Say so when a loss that counted was not finite."""
    bad = next((samples for samples, loss in seen if not math.isfinite(loss)), None)
    if bad is None:
        return None
    return Invalid(fault=Fault.DIVERGED, reason=f"the loss was not finite after {bad:g} samples")


def too_little(reading: Reading, line: TimeLine) -> Invalid | None:
    """Say so when there are too few steps after warm-up, or none that was seen to be fed."""
    kept = len(line.seconds) - reading.warmup(line)
    if kept < FEWEST_STEPS:
        made = int(line.count.sum())
        reason = f"{made} steps were made and {kept} are left after warm-up; {FEWEST_STEPS} are needed"
        return Invalid(fault=Fault.TOO_FEW_STEPS, reason=reason)
    if reading.fed_batch() is None:
        reason = "no tensor was seen entering the engine's forward: its batch cannot be counted"
        return Invalid(fault=Fault.NO_SAMPLES, reason=reason)
    return None


def peak_memory(reading: Reading) -> int | None:
    """Return the most bytes that one device had reserved; on CPU, that a host's ranks held together."""
    by_place: dict[str, float] = {}
    for rank, one in reading.series.items():
        memory: list[Mapping[str, Any]] = [record.get("memory") or {} for record in one.records]
        reserved = max(
            (number(part.get("peak_reserved", part.get("reserved"))) for part in memory), default=0
        )
        resident = max((number(part.get("peak_rss", part.get("rss"))) for part in memory), default=0)
        host = str(reading.headers[rank].get("host"))
        if reserved:
            by_place[f"{host} {rank}"] = reserved
        elif resident:
            by_place[host] = by_place.get(host, 0.0) + resident
    return int(max(by_place.values())) if by_place else None


def most_allocated(reading: Reading, key: str) -> int | None:
    """Return the most bytes by one of the allocator's counts on one device; None on CPU."""
    told = (
        number((record.get("memory") or {}).get(key))
        for one in reading.series.values()
        for record in one.records
    )
    return int(max(told, default=0)) or None


def kept_activations(reading: Reading) -> int | None:
    """Return the most bytes that a forward pass left for its backward pass; None where that was not seen."""
    told = (
        number(record.get("bytes"))
        for one in reading.series.values()
        for record in one.journal.of_kind("activations")
        if record.get("engine", 0) == one.engine
    )
    return int(max(told, default=0)) or None


def communicated(reading: Reading, line: TimeLine, start: int) -> dict[str, float]:
    """Return the bytes a step that a rank handed to each collective after warm-up, mean over the ranks."""
    after = line.boundary[start - 1] if start else 0.0
    totals: dict[str, float] = {}
    for one in reading.series.values():
        steps = max(1.0, one.boundary[-1] - after)
        for boundary, record in zip(one.boundary, one.records, strict=True):
            if boundary > after:
                for op, amount in (record.get("communicated") or {}).items():
                    totals[op] = totals.get(op, 0.0) + number(amount) / steps
    return {op: total / len(reading.series) for op, total in totals.items()}


def engine_facts(header: Record) -> dict[str, Any]:
    """Return what the engine said of itself: the witness of the knobs that it or torch carries out."""
    found = {name: header[name] for name in ("threads", "zero_stage") if header.get(name) is not None}
    found |= header.get("zeropp") or {}
    counts = header.get("parameters_by_type") or {}
    most = max(counts, key=lambda name: number(counts[name]), default=None)
    return {**found, PRECISION: FORMAT_OF_TYPE[most]} if most in FORMAT_OF_TYPE else found


def allocator_facts(reading: Reading) -> dict[str, Any]:
    """Return how many ranks told of a caching allocator, and on how many its segments were expandable."""
    told = [
        bool(record["memory"].get("expandable"))
        for one in reading.series.values()
        for record in [next((each for each in reversed(one.records) if each.get("memory")), None)]
        if record is not None and "reserved" in record["memory"]
    ]
    return {"ranks": len(told), "expandable": sum(told)} if told else {}


def witnesses(records: Sequence[Record]) -> dict[str, Mapping[str, Any]]:
    """Return the last witness of each knob."""
    return {str(record.get("knob")): dict(record.get("value") or {}) for record in records}
