"""Opening a SQLite file: local, writable, with a write-ahead log."""

import contextlib
import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Engine, create_engine, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from flyball.clock import Clock
from flyball.database.address import SQLITE, parse_address
from flyball.database.connection import begin, immediate
from flyball.errors import DatabaseError
from flyball.file_system import NETWORK_FILE_SYSTEMS, file_system_of
from flyball.settings import history_url, state_folder

SWITCH_POLL_SECONDS = 0.05


def sqlite_engine(
    path: Path, *, busy_timeout_seconds: float, for_reading: bool, mounts: Path, private: bool = False
) -> Engine:
    """Return an engine on a file that can be used; made with its folder where it is the default.

    What it keeps beside a file has the file's permissions (https://www.sqlite.org/src/file/src/os_unix.c,
    ``findCreateFileMode``), so that one that is ``private`` from its beginning is so with its logs.

    Raises:
        DatabaseError: the path cannot hold a database.
    """
    _require_local(path, mounts)
    _require_place(path, for_reading=for_reading)
    if private and not for_reading:
        with contextlib.suppress(OSError):  # it is there, or cannot be made, which is said in a moment
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    engine = create_engine(_url(path, for_reading=for_reading))

    @event.listens_for(engine, "connect")
    def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # SQLAlchemy's own advice for SQLite: its driver begins no transaction, the begin event does.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {round(busy_timeout_seconds * 1000)}")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    event.listen(engine, "begin", begin)
    return engine


def _url(path: Path, *, for_reading: bool) -> URL:
    """Return the URL of a file; one that nobody here can write is read as it is, without locks or a log.

    SQLite cannot open a file in WAL mode where it may not make the log's index beside it, except as
    ``immutable``: https://www.sqlite.org/wal.html#read_only_databases.
    """
    log = path.with_name(path.name + "-wal")
    writable = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)
    if not for_reading or writable or (log.exists() and log.stat().st_size):
        return URL.create(SQLITE, database=str(path))
    query = {"mode": "ro", "immutable": "1", "uri": "true"}
    return URL.create(SQLITE, database=f"file:{quote(str(path))}", query=query)


def prepare_for_writing(engine: Engine, place: str, *, busy_timeout_seconds: float, clock: Clock) -> None:
    """Switch the file to a write-ahead log, and write to it once to know that it can be."""
    if _switch_to_wal(engine, clock.monotonic() + busy_timeout_seconds, clock) != "wal":
        raise DatabaseError(
            "its disk cannot hold a write-ahead log", where=place, mend="put it on another local disk"
        )
    with immediate(engine).connect() as connection, connection.begin() as transaction:
        # On a read-only file even BEGIN IMMEDIATE only reads: write something, and take it back.
        version = connection.scalar(text("PRAGMA user_version"))
        connection.execute(text(f"PRAGMA user_version = {version}"))
        transaction.rollback()


def _switch_to_wal(engine: Engine, deadline: float, clock: Clock) -> str:
    """Return the journal mode after asking for WAL, waiting for another process that does the same.

    SQLite's own busy timeout does not cover this switch: it fails at once while another connection makes it.
    """
    while True:
        try:
            with engine.connect() as connection:
                raw = connection.connection.cursor()
                mode = str(raw.execute("PRAGMA journal_mode = WAL").fetchone()[0])
                raw.close()
                return mode
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or clock.monotonic() >= deadline:
                raise
        clock.sleep(SWITCH_POLL_SECONDS)


def _require_local(path: Path, mounts: Path) -> None:
    kind = file_system_of(path, mounts=mounts)
    if kind in NETWORK_FILE_SYSTEMS:
        raise DatabaseError(
            f"lies on a network file system ({kind}), where SQLite loses data",
            where=str(path),
            mend="name a file on a local disk with --db sqlite:////path, or use PostgreSQL",
        )


def _require_place(path: Path, *, for_reading: bool) -> None:
    if path.is_dir():
        mend = f"name a file in it, for example sqlite:///{path / 'history.db'}"
        raise DatabaseError("is a folder", where=str(path), mend=mend)
    if for_reading and not path.exists():
        raise DatabaseError("there is no such database", where=str(path), mend="check the path after --db")
    if not path.parent.is_dir():
        if path != parse_address(history_url()).path:
            mend = f"make it with mkdir -p {path.parent}"
            raise DatabaseError("its folder does not exist", where=str(path), mend=mend)
        _make_private(state_folder())


def _make_private(folder: Path) -> None:
    # XDG base directory specification: what is missing is made with mode 0700.
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        for each in reversed(missing):
            each.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise DatabaseError(
            f"cannot be made: {error.strerror}", where=str(folder), mend="set FLYBALL_STATE_DIR, or give --db"
        ) from error
