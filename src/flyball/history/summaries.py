"""Experiments as a list of them shows them: trials counted, the fastest, the verdict."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from flyball.history.finding import COMPLETED, SEARCHED
from flyball.history.models import ExperimentRow, MeasurementRow, RecommendationRow, TrialRow
from flyball.history.records import ExperimentRecord, ExperimentSummary
from flyball.history.rows import experiment_record


def summarize(
    session: Session, *, experiment_id: int | None = None, limit: int | None = None
) -> list[ExperimentSummary]:
    """Return all experiments, one, or the newest few, the newest first."""
    chosen = select(ExperimentRow).order_by(ExperimentRow.id.desc()).limit(limit)
    if experiment_id is not None:
        chosen = chosen.where(ExperimentRow.id == experiment_id)
    records = [experiment_record(row) for row in session.scalars(chosen)]
    found = {record.id: ExperimentSummary(experiment=record) for record in records}
    _count(session, found)
    _rate(session, found)
    _conclude(session, found)
    return list(found.values())


def _count(session: Session, found: dict[int, ExperimentSummary]) -> None:
    counts = select(
        TrialRow.experiment_id,
        TrialRow.outcome,
        func.count(),
        func.sum(TrialRow.total_seconds),
        func.max(func.coalesce(TrialRow.finished_time, TrialRow.lease_time)),
    ).group_by(TrialRow.experiment_id, TrialRow.outcome)
    groups: dict[int, list[Any]] = {}
    for own, *group in session.execute(counts.where(TrialRow.experiment_id.in_(found))):
        groups.setdefault(own, []).append(group)
    for own, summary in found.items():
        found[own] = _counted(summary, groups.get(own, ()))


def _counted(summary: ExperimentSummary, groups: Iterable[Any]) -> ExperimentSummary:
    groups = list(groups)
    return replace(
        summary,
        outcomes={outcome: count for outcome, count, *_ in groups if outcome is not None},
        running_trials=sum(count for outcome, count, *_ in groups if outcome is None),
        trial_seconds=sum(seconds or 0.0 for _, _, seconds, _ in groups),
        duration_seconds=_duration(summary.experiment, [last for *_, last in groups if last is not None]),
    )


def _duration(experiment: ExperimentRecord, last_signs: list[float]) -> float:
    ended = experiment.finished_time or max(last_signs, default=experiment.created_time)
    return max(0.0, ended - experiment.created_time)


def _rate(session: Session, found: dict[int, ExperimentSummary]) -> None:
    rate = MeasurementRow.samples_per_second
    slowest_first = (
        select(TrialRow.experiment_id, TrialRow.number, TrialRow.phase, rate)
        .join(MeasurementRow, MeasurementRow.trial_id == TrialRow.id)
        .where(TrialRow.experiment_id.in_(found), TrialRow.outcome == COMPLETED)
        .where(TrialRow.phase.in_(SEARCHED), rate.is_not(None))
        .order_by(rate, TrialRow.number.desc())
    )
    baseline = SEARCHED[0]
    for own, number, phase, value in session.execute(slowest_first):
        known = found[own].baseline_samples_per_second
        found[own] = replace(
            found[own],
            best_number=number,
            best_samples_per_second=value,
            baseline_samples_per_second=value if phase == baseline else known,
        )


def _conclude(session: Session, found: dict[int, ExperimentSummary]) -> None:
    own = select(RecommendationRow).where(RecommendationRow.experiment_id.in_(found))
    for row in session.scalars(own):
        speedup = row.document.get("speedup")
        found[row.experiment_id] = replace(found[row.experiment_id], verdict=row.verdict, speedup=speedup)
