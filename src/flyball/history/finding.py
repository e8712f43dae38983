"""Finds an experiment by what its user knows of it, and experiments that were alike."""

import difflib
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from flyball.errors import DatabaseError, OptionError
from flyball.history.columns import storable
from flyball.history.leases import is_held
from flyball.history.models import (
    ExperimentRow,
    FingerprintRow,
    MeasurementRow,
    RecommendationRow,
    TrialRow,
)
from flyball.history.records import FINISHED, INTERRUPTED, PastTrial

SEARCHED = ("baseline", "search")
"""Phases whose runs say how fast a point of the space is; the later ones repeat what these found."""
COMPLETED = "completed"
RECOMMENDED = "recommended"
_LONGEST_ID = 9
"""Digits; more do not fit a 32-bit key."""
OBJECTIVE = "objective"
"""Option of an experiment: what it makes better; see ``tuners.objective``."""
THROUGHPUT = "throughput"
BETWEEN_RUNS = "between_runs"
"""Option of an experiment that holds one name's study over production runs; see ``tuners.between_runs``."""
GENERATION = "@"
"""Stands between a study's name and its generation, from the second on; no name may hold it."""


def find_row(session: Session, key: str, *, place: str) -> ExperimentRow:
    """Return the experiment of a name, an id or a results folder, in this order.

    Raises:
        DatabaseError: there is none; names the most similar.
    """
    own = select(ExperimentRow)
    row = session.scalar(own.where(ExperimentRow.name == storable(key)))
    if row is None and key.isdecimal() and len(key) <= _LONGEST_ID:
        row = session.get(ExperimentRow, int(key))
    if row is None:
        folder = storable(str(Path(key).absolute()))
        folders = {key, folder, storable(str(Path(key).resolve()))}
        newest = own.where(ExperimentRow.output_directory.in_(folders)).order_by(ExperimentRow.id.desc())
        row = session.scalar(newest.limit(1))
    if row is None:
        names = list(session.scalars(select(ExperimentRow.name)))
        close = difflib.get_close_matches(key, names, n=1)
        mend = f"did you mean {close[0]}?" if close else "flyball history experiments lists what there is"
        raise DatabaseError(f"there is no experiment {key}", where=place, mend=mend)
    return row


def require_free_name(session: Session, name: str) -> None:
    """Raise OptionError where there is an experiment of this name."""
    if session.scalar(select(ExperimentRow.id).where(ExperimentRow.name == storable(name))):
        mend = f"choose another name, or go on with --resume {name}"
        raise OptionError(f"there is an experiment {name} already", where="--name", mend=mend)


def resumable_row(session: Session, *, now: float, one_machine: bool) -> ExperimentRow | None:
    """Return the newest unfinished experiment that nobody works on."""
    open_ones = select(ExperimentRow).where(ExperimentRow.status != FINISHED)
    rows = session.scalars(open_ones.order_by(ExperimentRow.id.desc()))
    return next(
        (
            row
            for row in rows
            if not row.options.get(BETWEEN_RUNS) and not is_held(row, now=now, one_machine=one_machine)
        ),
        None,
    )


def generation_rows(session: Session, name: str) -> list[ExperimentRow]:
    """Return the experiments of a study over production runs, the newest generation first."""
    own, later = storable(name), storable(name) + GENERATION
    named = (ExperimentRow.name == own) | ExperimentRow.name.startswith(later, autoescape=True)
    rows = session.scalars(select(ExperimentRow).where(named).order_by(ExperimentRow.id.desc()))
    # SQLite's LIKE does not tell upper from lower case.
    return [row for row in rows if row.name == own or row.name.startswith(later)]


def recommending_rows(session: Session, fingerprint_digest: str, *, limit: int) -> list[ExperimentRow]:
    """Return the newest experiments of alike machines that came to a recommendation, the newest first."""
    own = (
        select(ExperimentRow)
        .join(RecommendationRow, RecommendationRow.experiment_id == ExperimentRow.id)
        .join(FingerprintRow, FingerprintRow.id == ExperimentRow.fingerprint_id)
        .where(RecommendationRow.verdict == RECOMMENDED, FingerprintRow.digest == fingerprint_digest)
        .order_by(ExperimentRow.id.desc())
        .limit(limit)
    )
    return list(session.scalars(own))


def matching_trials(
    session: Session,
    fingerprint_digest: str,
    command_digest: str,
    *,
    objective: str,
    excluding: int | None,
) -> list[PastTrial]:
    """Return the finished baseline and search trials of alike experiments, the fastest first."""
    rate = MeasurementRow.samples_per_second
    rows = (
        select(TrialRow, ExperimentRow, rate, MeasurementRow.document)
        .join(ExperimentRow, TrialRow.experiment_id == ExperimentRow.id)
        .join(FingerprintRow, FingerprintRow.id == ExperimentRow.fingerprint_id)
        .outerjoin(MeasurementRow, MeasurementRow.trial_id == TrialRow.id)
        .where(
            FingerprintRow.digest == fingerprint_digest,
            ExperimentRow.command_digest == command_digest,
            ExperimentRow.id != (-1 if excluding is None else excluding),
            TrialRow.status == FINISHED,
            TrialRow.outcome != INTERRUPTED,
            TrialRow.phase.in_(SEARCHED),
        )
        .order_by(rate.desc().nulls_last(), TrialRow.id)
    )
    return [
        _past(row, own.name, value, document)
        for row, own, value, document in session.execute(rows)
        if own.options.get(OBJECTIVE, THROUGHPUT) == objective
    ]


def _past(row: TrialRow, experiment: str, rate: float | None, document: dict[str, Any] | None) -> PastTrial:
    return PastTrial(
        experiment=experiment,
        number=row.number,
        phase=row.phase,
        assignment=row.configuration.assignment,
        outcome=row.outcome or "",
        samples_per_second=rate,
        total_seconds=row.total_seconds,
        measurement=document,
    )
