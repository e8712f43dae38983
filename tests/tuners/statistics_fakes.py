"""Journals and measurements made up for the tests of the statistics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flyball.collectors.journal import RankJournal
from flyball.runner.outcome import Outcome, OutcomeKind
from flyball.tuners.base import Configuration, Interval, Measurement, Phase, TrialReport


def header(**other: Any) -> dict[str, Any]:
    usual = {
        "engine": 0,
        "rank": 0,
        "world_size": 1,
        "data_parallel_size": 1,
        "micro_batch": 4,
        "host": "here",
    }
    return {"kind": "header", **usual, **other}


def steps(
    seconds: Sequence[float], *, samples: float = 4, engine: int = 0, **other: Any
) -> list[dict[str, Any]]:
    """Step records; a keyword whose value is a list gives one value a step, any other the same for all."""
    records, clock = [], 100.0
    for index, each in enumerate(seconds):
        clock += each
        extra = {key: value[index] if isinstance(value, list) else value for key, value in other.items()}
        own = {"step": index + 1, "count": 1, "seconds": each, "clock": clock, "tokens": samples * 10}
        records.append({"kind": "step", "engine": engine, **own, "samples": samples, "forwards": 1, **extra})
    return records


def journal(*records: Mapping[str, Any]) -> RankJournal:
    return RankJournal(path=Path("rank-0.jsonl"), records=list(records))


def job(*ranks: Sequence[Mapping[str, Any]], **header_fields: Any) -> dict[int, RankJournal]:
    """Journals of a job, one list of records a rank; by default every rank is a replica."""
    sizes = {"world_size": len(ranks), "data_parallel_size": len(ranks), **header_fields}
    return {rank: journal(header(**{"rank": rank, **sizes}), *records) for rank, records in enumerate(ranks)}


def interval(point: float, half: float = 0.02) -> Interval:
    return Interval(point=point, low=point * (1 - half), high=point * (1 + half))


def measurement(rate: float = 100.0, **other: Any) -> Measurement:
    usual: dict[str, Any] = {"tokens_per_second": rate * 10, "steps": 20, "warmup_steps": 2, "seconds": 4.0}
    return Measurement(samples_per_second=interval(rate), **{**usual, **other})


def configuration(
    ds_config: Mapping[str, Any] | None = None, assignment: Mapping[str, Any] | None = None, **other: Any
) -> Configuration:
    return Configuration(assignment=assignment or {}, ds_config=ds_config or {}, **other)


def trial(
    number: int = 0,
    *,
    phase: Phase = Phase.SEARCH,
    rate: float | None = 100.0,
    outcome: OutcomeKind = OutcomeKind.COMPLETED,
    reason: str = "measured",
    **assignment: Any,
) -> TrialReport:
    return TrialReport(
        number=number,
        phase=phase,
        configuration=configuration({"train_micro_batch_size_per_gpu": 4}, assignment),
        outcome=Outcome(kind=outcome, reason=reason),
        measurement=measurement(rate) if rate is not None else None,
        launcher="warm",
        startup_seconds=1.0,
        total_seconds=5.0,
    )
