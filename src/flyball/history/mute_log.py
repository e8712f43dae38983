"""Mutes: alerts that are recorded and told to nobody for a time."""

from collections.abc import Mapping

from sqlalchemy import or_, select

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.history.alert_models import MuteRow
from flyball.history.alert_records import Mute
from flyball.history.alert_rows import mute_record


class MuteLog:
    """The mutes of one database, of all its agents. Each method is one transaction.

    Every one raises StorageFailed when the database gives out.
    """

    def __init__(self, database: Database, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    def add(self, matchers: Mapping[str, str], *, until_time: float | None, comment: str = "") -> Mute:
        """Mute alerts whose labels are all as in ``matchers``, from now until ``until_time``.

        Args:
            matchers: label to value; empty for all alerts.
            until_time: seconds since the epoch; None until it is ended.
            comment: why, for people.
        """
        row = MuteRow(
            matchers=dict(matchers), created_time=self._clock.time(), until_time=until_time, comment=comment
        )
        with self._database.writing() as session:
            session.add(row)
            session.flush()
            return mute_record(row)

    def active(self) -> tuple[Mute, ...]:
        """Return those in force, the oldest first."""
        still = or_(MuteRow.until_time.is_(None), MuteRow.until_time > self._clock.time())
        with self._database.reading() as session:
            return tuple(
                mute_record(row) for row in session.scalars(select(MuteRow).where(still).order_by(MuteRow.id))
            )

    def all(self, *, limit: int | None = None) -> tuple[Mute, ...]:
        """Return all, the ended included, the newest first."""
        query = select(MuteRow).order_by(MuteRow.id.desc()).limit(limit)
        with self._database.reading() as session:
            return tuple(mute_record(row) for row in session.scalars(query))

    def end(self, mute_id: int) -> bool:
        """End a mute now; False where there is none such in force."""
        now = self._clock.time()
        with self._database.writing() as session:
            row = session.get(MuteRow, mute_id)
            if row is None or (row.until_time is not None and row.until_time <= now):
                return False
            row.until_time = now
            return True
