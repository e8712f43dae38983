"""The database of a process that lives on when its file is removed."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Dialect

from flyball.clock import Clock, SystemClock
from flyball.database import Database
from flyball.errors import DatabaseError, StorageFailed
from flyball.history.carrying_over import Carried, Unfinished, carry_over, unfinished


class LastingDatabase:
    """Begins anew when its file was removed or another one was put in its place; one thread uses it.

    The removed file is still open, and so what is not over yet is read from it and goes into the new one
    (``flyball.history.carrying_over``), all of it or nothing: until that has worked, memory holds it, and
    each use says what is wrong and tries again.

    Args:
        open_: opens what stands at the address, or makes it.
        begun: called with what was carried over; with None where the removed one could not be read.
        clock: seconds since the epoch.

    Raises:
        DatabaseError: it cannot be opened.
    """

    def __init__(
        self,
        open_: Callable[[], Database],
        *,
        begun: Callable[[Carried | None], None],
        clock: Clock | None = None,
    ) -> None:
        self._open, self._begun, self._clock = open_, begun, clock or SystemClock()
        self._database = open_()
        self._left: Unfinished | None = None
        """Of the removed file, until the new one has it."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self._database.is_sqlite

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        return self._database.dialect

    @contextmanager
    def querying(self) -> Iterator[Connection]:
        """As :meth:`Database.querying`."""
        with self._whole().querying() as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """As :meth:`Database.changing`."""
        with self._whole().changing() as connection:
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def _whole(self) -> Database:
        if self._database.is_removed:
            self._begin_anew()
        self._left = None
        return self._database

    def _begin_anew(self) -> None:
        now = self._clock.time()
        if self._left is None:
            with contextlib.suppress(StorageFailed), self._database.remains() as connection:
                self._left = unfinished(connection, now=now)
        fresh, carried = self._opened(), None
        try:
            if self._left is not None:
                with fresh.changing() as connection:
                    carried = carry_over(connection, self._left, now=now)
        except BaseException:
            fresh.close()
            raise
        self._database = fresh
        self._begun(carried)

    def _opened(self) -> Database:
        path = self._database.address.path
        try:
            if path is not None:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return self._open()
        except DatabaseError as error:
            raise StorageFailed(error.what, where=error.where, mend=error.mend) from error
        except OSError as error:
            what = f"was removed, and its folder cannot be made: {error.strerror}"
            raise StorageFailed(what, where=self._database.place) from error
