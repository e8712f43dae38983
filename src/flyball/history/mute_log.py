"""Mutes: alerts that are recorded and told to nobody for a time."""

from collections.abc import Mapping

from sqlalchemy import insert, or_, select, update

from flyball.clock import Clock, SystemClock
from flyball.database import Transactions
from flyball.history.alert_records import Mute
from flyball.history.alert_rows import mute_record
from flyball.history.alert_tables import MUTES


class MuteLog:
    """The mutes of one database, of all its agents. Each method is one transaction.

    Every one raises StorageFailed when the database gives out.
    """

    def __init__(self, database: Transactions, *, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()

    def add(self, matchers: Mapping[str, str], *, until_time: float | None, comment: str = "") -> Mute:
        """Mute alerts whose labels are all as in ``matchers``, from now until ``until_time``.

        Args:
            matchers: label to value; empty for all alerts.
            until_time: seconds since the epoch; None until it is ended.
            comment: why, for people.
        """
        row = {
            "matchers": dict(matchers),
            "created_time": self._clock.time(),
            "until_time": until_time,
            "comment": comment,
        }
        with self._database.changing() as connection:
            return mute_record(connection.execute(insert(MUTES).values(row).returning(*MUTES.c)).one())

    def active(self) -> tuple[Mute, ...]:
        """Return those in force, the oldest first."""
        still = or_(MUTES.c.until_time.is_(None), MUTES.c.until_time > self._clock.time())
        with self._database.querying() as connection:
            return tuple(
                mute_record(row)
                for row in connection.execute(select(MUTES).where(still).order_by(MUTES.c.id))
            )

    def all(self, *, limit: int | None = None) -> tuple[Mute, ...]:
        """Return all, the ended included, the newest first."""
        query = select(MUTES).order_by(MUTES.c.id.desc()).limit(limit)
        with self._database.querying() as connection:
            return tuple(mute_record(row) for row in connection.execute(query))

    def end(self, mute_id: int) -> bool:
        """End a mute now; False where there is none such in force."""
        now = self._clock.time()
        in_force = or_(MUTES.c.until_time.is_(None), MUTES.c.until_time > now)
        ended = update(MUTES).where(MUTES.c.id == mute_id, in_force)
        with self._database.changing() as connection:
            return connection.execute(ended.values(until_time=now)).rowcount > 0
