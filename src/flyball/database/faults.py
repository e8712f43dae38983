"""What a database driver's error means to the user: one line, and the mend."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flyball.database.address import SQLITE, Address
from flyball.errors import DatabaseError, FlyballError, StorageFailed


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong with a database, in the user's words."""

    what: str
    mend: str | None


RESUME = "go on with --resume"
"""What a study does once the database is well again; whoever opens it otherwise says what they do."""
_THEN_RESUME = f", then {RESUME}"

_LOCKED = Fault(
    "is locked by another process", "wait until it is done, or end it; `fuser FILE` names who holds it"
)
_NOT_A_DATABASE = Fault("is not a SQLite database", "name another file, or remove this one")
_FULL = Fault("the disk is full", f"free some space{_THEN_RESUME}")
_READ_ONLY = Fault(
    "cannot be written: the file or its folder is read-only", "mend its permissions, or name another file"
)
_SQLITE_FAULTS = {
    sqlite3.SQLITE_BUSY: _LOCKED,
    sqlite3.SQLITE_LOCKED: _LOCKED,
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_AUTH: _READ_ONLY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_NOTADB: _NOT_A_DATABASE,
    sqlite3.SQLITE_CORRUPT: Fault(
        "is damaged", "restore it from a copy, or `sqlite3 FILE .recover` into a new one"
    ),
    sqlite3.SQLITE_CANTOPEN: Fault(
        "cannot be opened", "check that its folder exists and that you may write to it and to the file"
    ),
    sqlite3.SQLITE_IOERR: Fault(
        "the disk failed to read or write it", "see dmesg; keep the database on a sound local disk"
    ),
}

# SQLSTATE classes and codes: https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRESQL_FAULTS = {
    "53100": Fault("the server's disk is full", f"free some space there{_THEN_RESUME}"),
    "53300": Fault("the server has no free connection", "close some, or raise max_connections"),
    "55P03": Fault("another process holds the lock", "wait until it is done, or end it"),
    "42501": Fault("the user may not do this", "GRANT CREATE, USAGE ON SCHEMA public to the user"),
    "25006": Fault("is read-only, perhaps a standby", "name the primary server"),
    "28P01": Fault("the password is wrong", "check user and password in the URL"),
    "3D000": Fault("there is no such database", "make it with createdb, or name another"),
}
_LOST = Fault("the connection was lost", f"see that the server runs{_THEN_RESUME}")

# A refused connection has no SQLSTATE in libpq; what it says is all there is.
_CONNECTION_WORDS = {
    "password": Fault("the password is wrong or missing", "check user and password in the URL"),
    "does not exist": Fault("there is no such database or user", "make it with createdb or createuser"),
    "refused": Fault("the server does not answer", "start PostgreSQL, or check host and port"),
    "No such file": Fault("the server does not answer", "start PostgreSQL, or check host and port"),
    "resolve": Fault("the host is not known", "check the host in the URL"),
    "timeout": Fault("the server does not answer in time", "check host and port, and the network"),
}
_PROGRAMMERS_ERRORS = (DataError, IntegrityError, ProgrammingError)


def diagnose(error: DBAPIError) -> Fault:
    """Return what a driver's error means."""
    cause = error.orig
    if getattr(cause, "sqlite_errorcode", None) is not None:
        return _sqlite_fault(cause)
    state = getattr(cause, "sqlstate", None)
    if state in _POSTGRESQL_FAULTS:
        return _POSTGRESQL_FAULTS[state]
    return _diagnose_connection(error, state)


def _sqlite_fault(cause: BaseException | None) -> Fault:
    # The low byte is the primary code, the rest says more than a user needs.
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return _SQLITE_FAULTS.get(code, Fault(_first_line(cause), None))


def _diagnose_connection(error: DBAPIError, state: str | None) -> Fault:
    said = _first_line(error.orig)
    lost = error.connection_invalidated or (state or "").startswith(("08", "57P"))
    if lost:
        return Fault(f"{_LOST.what} ({said})", _LOST.mend)
    for word, fault in _CONNECTION_WORDS.items():
        if state is None and word in str(error.orig):
            return Fault(f"{fault.what} ({said})", fault.mend)
    return Fault(said, None)


def _first_line(cause: BaseException | None) -> str:
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]


@contextmanager
def opening(address: Address) -> Iterator[None]:
    """Turn whatever a driver raises while a database is opened into a DatabaseError."""
    try:
        yield
    except (DBAPIError, sqlite3.Error) as error:
        # The driver's own errors come from statements that SQLAlchemy has no part in.
        fault = diagnose(error) if isinstance(error, DBAPIError) else _sqlite_fault(error)
        mend = fault.mend and fault.mend.replace(_THEN_RESUME, "")
        raise DatabaseError(fault.what, where=address.place, mend=_with_place(mend, address)) from error
    except SQLAlchemyError as error:
        raise DatabaseError(_first_line(error), where=address.place) from error


@contextmanager
def running(address: Address, *, go_on: str = RESUME) -> Iterator[None]:
    """Turn a database that gives out in the middle into a StorageFailed; what is our own fault passes.

    Its mend ends with ``go_on``.

    Looks through the chain of causes too, so that it works around Optuna, which wraps the driver's errors.
    """
    try:
        yield
    except FlyballError:
        raise
    except Exception as error:
        cause = _database_cause(error)
        if cause is None:
            raise
        fault = diagnose(cause) if isinstance(cause, DBAPIError) else Fault(_first_line(cause), None)
        mend = (fault.mend or RESUME).replace(RESUME, go_on)
        raise StorageFailed(fault.what, where=address.place, mend=_with_place(mend, address)) from error


def _database_cause(error: BaseException | None) -> SQLAlchemyError | None:
    while error is not None:
        if isinstance(error, DBAPIError | PoolTimeout) and not _is_programmers(error):
            return error
        error = error.__cause__ or error.__context__
    return None


def _is_programmers(error: SQLAlchemyError) -> bool:
    state = getattr(getattr(error, "orig", None), "sqlstate", None)
    return isinstance(error, _PROGRAMMERS_ERRORS) and state not in _POSTGRESQL_FAULTS


def _with_place(mend: str | None, address: Address) -> str | None:
    if mend is None or address.url.drivername != SQLITE:
        return mend
    return mend.replace("FILE", str(address.path))
