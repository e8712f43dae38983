"""Opens the history's database, or says in one line why it cannot be used."""

import subprocess
import sys
from pathlib import Path

from flyball.clock import SystemClock
from flyball.database.address import Address, parse_address
from flyball.database.connection import Database, file_identity, logs_of
from flyball.database.faults import RESUME, opening
from flyball.database.postgresql import postgresql_engine
from flyball.database.schema import is_current, upgrade
from flyball.database.sqlite_file import prepare_for_writing, sqlite_engine
from flyball.file_system import MOUNTS


def open_database(
    url: str,
    *,
    for_reading: bool = False,
    busy_timeout_seconds: float = 10.0,
    mounts: Path = MOUNTS,
    migrate_apart: bool = False,
    private: bool = False,
    go_on: str = RESUME,
) -> Database:
    """Open a database by its SQLAlchemy URL, check that it can be used and bring its schema up to date.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.
        for_reading: makes no file, and does not need the write lock unless the schema is old.
        busy_timeout_seconds: how long to wait for another process's write lock, now and later.
        mounts: what the kernel says is mounted, proc_pid_mountinfo(5).
        migrate_apart: let another process bring the schema up to date, where it is not: a process that lives
            long would keep what that loads.
        private: a SQLite file that is made is its owner's alone, and so are its logs.
        go_on: the end of the mend of a database that gives out later, as in ``try again``.

    Raises:
        DatabaseError: the database cannot be used; says where and what to do, never with a password.
    """
    address = parse_address(url)
    with opening(address):
        if address.path is None:
            engine = postgresql_engine(address)
        else:
            engine = sqlite_engine(
                address.path,
                busy_timeout_seconds=busy_timeout_seconds,
                for_reading=for_reading,
                mounts=mounts,
                private=private,
            )
        try:
            if address.path is not None and not for_reading:
                prepare_for_writing(
                    engine, address.place, busy_timeout_seconds=busy_timeout_seconds, clock=SystemClock()
                )
            if migrate_apart and not is_current(engine, address.place):
                _migrate_apart(address)
            upgrade(engine, address.place, lock_timeout_seconds=busy_timeout_seconds)
        except BaseException:
            engine.dispose()
            raise
    return Database(
        address=address,
        engine=engine,
        go_on=go_on,
        file=file_identity(address.path),
        logs=logs_of(address.path),
    )


def _migrate_apart(address: Address) -> None:
    # What goes wrong there goes wrong here again, and is said then.
    code = "import sys; from flyball.database import open_database; open_database(sys.stdin.read()).close()"
    subprocess.run(
        [sys.executable, "-c", code], input=address.text, text=True, capture_output=True, check=False
    )
