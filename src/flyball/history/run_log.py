"""The runs that ``flyball run`` started and the links that ``flyball p2p`` measured."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.history.columns import storable
from flyball.history.machines import fingerprint_id
from flyball.history.models import P2pRow, RunRow
from flyball.history.records import MachineFingerprint, P2pRecord, RunRecord
from flyball.history.rows import p2p_record, run_record


class RunLog:
    """Runs and measurements of links of one database.

    Each method is one transaction; every one raises StorageFailed when the database gives out.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    def start_run(
        self,
        *,
        name: str,
        host: str,
        folder: str | os.PathLike[str],
        command: Sequence[str],
        started_time: float,
        fingerprint: MachineFingerprint | None,
    ) -> int:
        """Add a run that has begun and return its id; hosts of one job may use one name."""
        with self._database.writing() as session:
            row = RunRow(
                name=name,
                host=host,
                folder=os.fspath(folder),
                command=[storable(token) for token in command],
                started_time=started_time,
                fingerprint_id=fingerprint_id(session, fingerprint) if fingerprint else None,
            )
            session.add(row)
            session.flush()
            return row.id

    def finish_run(
        self,
        run_id: int,
        *,
        finished_time: float,
        exit_status: int | None,
        signal: int | None,
        summary: Mapping[str, Any] | None,
    ) -> None:
        """Record how a run ended.

        Args:
            run_id: from ``start_run``.
            finished_time: seconds since the epoch.
            exit_status: of the command; None where a signal ended it.
            signal: that ended it, else None.
            summary: what was seen of it; NaN and infinities are kept as null.
        """
        ended = {
            "finished_time": finished_time,
            "exit_status": exit_status,
            "signal": signal,
            "summary": summary,
        }
        with self._database.writing() as session:
            session.execute(update(RunRow).where(RunRow.id == run_id).values(**ended))

    def runs(self, *, name: str | None = None, limit: int | None = None) -> list[RunRecord]:
        """Return runs, of all names or of one, the newest first."""
        query = select(RunRow).order_by(RunRow.started_time.desc(), RunRow.id.desc()).limit(limit)
        if name is not None:
            query = query.where(RunRow.name == storable(name))
        with self._database.reading() as session:
            return [run_record(row) for row in session.scalars(query)]

    def add_p2p(self, *, host: str, command: Sequence[str], backend: str, document: Mapping[str, Any]) -> int:
        """Keep one measurement of links and return its id.

        Args:
            host: that measured.
            command: the launcher, token by token; empty where flyball started the ranks itself.
            backend: ``nccl`` or ``gloo``.
            document: all that was measured, as JSON.
        """
        row = P2pRow(
            created_time=self._clock.time(),
            host=host,
            command=[storable(token) for token in command],
            backend=backend,
            document=dict(document),
        )
        with self._database.writing() as session:
            session.add(row)
            session.flush()
            return row.id

    def p2p(self, *, limit: int | None = None) -> list[P2pRecord]:
        """Return measurements of links, the newest first."""
        query = select(P2pRow).order_by(P2pRow.created_time.desc(), P2pRow.id.desc()).limit(limit)
        with self._database.reading() as session:
            return [p2p_record(row) for row in session.scalars(query)]
