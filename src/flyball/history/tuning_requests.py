"""Runs that an alert says should be tuned: held for ``autotune --from-alert``."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import insert, select, update

from flyball.clock import Clock, SystemClock
from flyball.database import Transactions
from flyball.history.alert_records import Alert, TuningRequest
from flyball.history.alert_rows import tuning_request
from flyball.history.alert_tables import TUNING_REQUESTS


class TuningRequests:
    """The requests of one database. Each method is one transaction.

    Every one raises StorageFailed when the database gives out.
    """

    def __init__(self, database: Transactions, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    def add(self, alert: Alert, run: str, document: Mapping[str, Any]) -> TuningRequest | None:
        """Hold a request; None where one of the same rule and run is open.

        Args:
            alert: that asks for it.
            run: its name.
            document: command, config and telemetry, as JSON; NaN and infinities are kept as null.
        """
        row = {
            "created_time": self._clock.time(),
            "fingerprint": alert.fingerprint,
            "active_time": alert.active_time,
            "rule": alert.rule,
            "run": run,
            "document": dict(document),
        }
        adding = insert(TUNING_REQUESTS).values(row).returning(*TUNING_REQUESTS.c)
        same = TUNING_REQUESTS.c.rule == alert.rule, TUNING_REQUESTS.c.run == run
        with self._database.changing() as connection:
            held = select(TUNING_REQUESTS.c.id).where(*same, TUNING_REQUESTS.c.taken_time.is_(None))
            if connection.scalar(held) is not None:
                return None
            return tuning_request(connection.execute(adding).one())

    def all(self, *, only_open: bool = False, limit: int | None = None) -> tuple[TuningRequest, ...]:
        """Return requests, the newest first."""
        query = select(TUNING_REQUESTS).order_by(TUNING_REQUESTS.c.id.desc()).limit(limit)
        if only_open:
            query = query.where(TUNING_REQUESTS.c.taken_time.is_(None))
        with self._database.querying() as connection:
            return tuple(tuning_request(row) for row in connection.execute(query))

    def get(self, request_id: int) -> TuningRequest | None:
        """Return one, or None."""
        with self._database.querying() as connection:
            row = connection.execute(
                select(TUNING_REQUESTS).where(TUNING_REQUESTS.c.id == request_id)
            ).one_or_none()
            return tuning_request(row) if row else None

    def take(self, request_id: int) -> TuningRequest | None:
        """Mark a request as begun and return it; None where there is no such open one."""
        still_open = TUNING_REQUESTS.c.id == request_id, TUNING_REQUESTS.c.taken_time.is_(None)
        taken = update(TUNING_REQUESTS).where(*still_open).values(taken_time=self._clock.time())
        with self._database.changing() as connection:
            row = connection.execute(taken.returning(*TUNING_REQUESTS.c)).one_or_none()
            return tuning_request(row) if row else None
