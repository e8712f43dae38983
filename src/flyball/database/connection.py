"""An open database: how it is read and written, and its errors in the user's words."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection, Dialect, Engine, text
from sqlalchemy.pool import QueuePool

from flyball.database.address import SQLITE, Address
from flyball.database.faults import RESUME, running
from flyball.errors import StorageFailed

if TYPE_CHECKING:
    # Loaded by the first session: the agent, which lives long beside a workload, uses connections alone.
    from sqlalchemy.orm import Session

Identity = tuple[int, int]
"""A file's device and inode."""
BEGIN = "flyball_begin"
"""Execution option: how a SQLite transaction of this engine begins; None for no transaction."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Database:
    """A database that was checked and brought to the newest schema; close it when done."""

    address: Address
    engine: Engine = field(repr=False)
    go_on: str = RESUME
    """What is to be done once a database that gave out is well again."""
    file: Identity | None = None
    """Of a SQLite file."""
    logs: Mapping[Path, Identity] = field(default_factory=dict)
    """The files that SQLite keeps beside it."""

    @property
    def url(self) -> str:
        """The whole URL, password included, with the driver that flyball uses; for Optuna's storage."""
        return self.address.text

    @property
    def place(self) -> str:
        """The database as people may see it: a path, or a URL with its password masked."""
        return self.address.place

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self.engine.dialect.name == SQLITE

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        return self.engine.dialect

    @property
    def is_removed(self) -> bool:
        """Whether its file was removed or replaced since it was opened."""
        return self.file is not None and self.file != file_identity(self.address.path)

    @contextmanager
    def querying(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the database; what is changed over it is dropped.

        Raises:
            StorageFailed: the database gave out.
        """
        with self.guard(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def changing(self) -> Iterator[Connection]:
        """Give a connection whose changes are committed at the end, or dropped; else as ``writing``.

        Raises:
            StorageFailed: the database gave out; nothing of the changes was kept.
        """
        with self.guard(), immediate(self.engine).connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def remains(self) -> Iterator[Connection]:
        """Give a connection to what a removed file held; closes it, and nothing of it is left in the way.

        To be used before another file is opened in its place, which would share the log with it.

        Raises:
            StorageFailed: no connection has it open any more, or its disk is gone.
        """
        try:
            if isinstance(self.engine.pool, QueuePool) and not self.engine.pool.checkedin():
                # A new connection would make an empty file in its place.
                raise StorageFailed("was removed", where=self.address.place)
            with running(self.address, go_on=self.go_on):
                with self.engine.connect() as connection:
                    yield connection
                with self.engine.connect().execution_options(**{BEGIN: None}) as connection:
                    # It may have been moved only: then all of it is to be in the file itself.
                    connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
        finally:
            self.close()
            for path, identity in self.logs.items():
                if file_identity(path) == identity:
                    path.unlink(missing_ok=True)

    @contextmanager
    def reading(self) -> Iterator["Session"]:
        """Give an ORM session that sees one state of the database; what is changed in it is dropped.

        Raises:
            StorageFailed: the database gave out.
        """
        from sqlalchemy.orm import Session

        with self.guard(), Session(self.engine) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator["Session"]:
        """Give an ORM session whose changes are committed at the end, or dropped when an exception leaves it.

        SQLite takes the write lock at the start (BEGIN IMMEDIATE): a transaction that reads first and writes
        later fails at once when another has written in between, whatever its timeout.

        Raises:
            StorageFailed: the database gave out; nothing of the session was kept.
        """
        from sqlalchemy.orm import Session

        with self.guard(), Session(immediate(self.engine)) as session, session.begin():
            yield session

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Turn database errors inside, Optuna's on the same database included, into StorageFailed.

        A file that was removed or replaced is one: SQLite would go on in what nobody will find again.
        """
        if self.is_removed:
            mend = "put the file back, or start what has it open anew: it begins with an empty one"
            what = "was removed or replaced while it was open"
            raise StorageFailed(what, where=self.address.place, mend=mend)
        with running(self.address, go_on=self.go_on):
            yield

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def file_identity(path: Path | None) -> Identity | None:
    """Return device and inode of a file; None where there is none."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def logs_of(path: Path | None) -> Mapping[Path, Identity]:
    """Return the files that SQLite keeps beside one (https://www.sqlite.org/walformat.html)."""
    beside = [path.with_name(path.name + end) for end in ("-wal", "-shm")] if path is not None else []
    return {each: identity for each in beside if (identity := file_identity(each)) is not None}


def immediate(engine: Engine) -> Engine:
    """Return the same engine, with SQLite transactions that take the write lock when they begin."""
    return engine.execution_options(**{BEGIN: "IMMEDIATE"})


def begin(connection: Connection) -> None:
    """Begin a SQLite transaction; SQLAlchemy's begin event, since sqlite3's own control is switched off."""
    kind = connection.get_execution_options().get(BEGIN, "DEFERRED")
    if kind is not None:
        connection.exec_driver_sql(f"BEGIN {kind}")
