"""Runs that an alert says should be tuned: held for ``autotune --from-alert``."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.history.alert_models import TuningRequestRow
from flyball.history.alert_records import Alert, TuningRequest
from flyball.history.alert_rows import tuning_request


class TuningRequests:
    """The requests of one database. Each method is one transaction.

    Every one raises StorageFailed when the database gives out.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    def add(self, alert: Alert, run: str, document: Mapping[str, Any]) -> TuningRequest | None:
        """Hold a request; None where one of the same rule and run is open.

        Args:
            alert: that asks for it.
            run: its name.
            document: command, config and telemetry, as JSON; NaN and infinities are kept as null.
        """
        row = TuningRequestRow(
            created_time=self._clock.time(),
            fingerprint=alert.fingerprint,
            active_time=alert.active_time,
            rule=alert.rule,
            run=run,
            document=dict(document),
        )
        same = TuningRequestRow.rule == alert.rule, TuningRequestRow.run == run
        with self._database.writing() as session:
            held = select(TuningRequestRow.id).where(*same, TuningRequestRow.taken_time.is_(None))
            if session.scalar(held) is not None:
                return None
            session.add(row)
            session.flush()
            session.refresh(row)
            return tuning_request(row)

    def all(self, *, only_open: bool = False, limit: int | None = None) -> tuple[TuningRequest, ...]:
        """Return requests, the newest first."""
        query = select(TuningRequestRow).order_by(TuningRequestRow.id.desc()).limit(limit)
        if only_open:
            query = query.where(TuningRequestRow.taken_time.is_(None))
        with self._database.reading() as session:
            return tuple(tuning_request(row) for row in session.scalars(query))

    def get(self, request_id: int) -> TuningRequest | None:
        """Return one, or None."""
        with self._database.reading() as session:
            row = session.get(TuningRequestRow, request_id)
            return tuning_request(row) if row else None

    def take(self, request_id: int) -> TuningRequest | None:
        """Mark a request as begun and return it; None where there is no such open one."""
        still_open = TuningRequestRow.id == request_id, TuningRequestRow.taken_time.is_(None)
        taken = update(TuningRequestRow).where(*still_open).values(taken_time=self._clock.time())
        with self._database.writing() as session:
            row = session.scalars(taken.returning(TuningRequestRow)).one_or_none()
            return tuning_request(row) if row else None
