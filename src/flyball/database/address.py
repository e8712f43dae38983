"""What a database URL means, and how it is shown: without its password."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from flyball.errors import DatabaseError

SQLITE, POSTGRESQL = "sqlite", "postgresql"
_FORMS = "write sqlite:////absolute/path/history.db or postgresql://user:password@host/database"
_SECRET_PARAMETERS = ("password", "sslpassword")
_DRIVERS = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """Where a database is."""

    url: URL = field(repr=False)
    """With the driver that flyball uses; a SQLite path in it is absolute."""
    place: str
    """For people: the path of a SQLite file, or the URL with its secrets masked."""
    path: Path | None
    """The SQLite file; None for PostgreSQL."""

    @property
    def text(self) -> str:
        """The whole URL, password included, for whoever connects by itself (Optuna)."""
        return self.url.render_as_string(hide_password=False)


def parse_address(text: str) -> Address:
    """Return the address that a URL stands for.

    Raises:
        DatabaseError: the URL is malformed, in memory, or of a database that flyball cannot use.
    """
    try:
        url = make_url(text)
        driver = _DRIVERS.get(url.drivername)
    except (ArgumentError, ValueError) as error:
        raise DatabaseError("is not a database URL", where=masked(text), mend=_FORMS) from error
    if driver is None:
        raise DatabaseError(f"{url.drivername} databases are not supported", where=masked(text), mend=_FORMS)
    url = url.set(drivername=driver)
    return _sqlite_address(url, text) if driver == SQLITE else _postgresql_address(url)


def anchored(text: str, folder: Path) -> str:
    """Return a URL whose SQLite path, where it is relative, starts at a folder; any other as it is."""
    scheme, slashes, name = text.partition(":///")
    relative = slashes and _DRIVERS.get(scheme) == SQLITE and name and name != ":memory:"
    if not relative or name.startswith(("/", "~", "file:", "?")):
        return text
    return f"{scheme}{slashes}{folder.absolute() / name}"


def _sqlite_address(url: URL, text: str) -> Address:
    where = masked(text)
    if url.host:
        slashes = f"write three slashes for a path from here, four for an absolute one: {SQLITE}:///"
        raise DatabaseError("a SQLite URL has no host", where=where, mend=slashes)
    if url.query:
        raise DatabaseError(
            "a SQLite URL takes no parameters here", where=where, mend="leave out ? and after"
        )
    name = url.database or ":memory:"
    if name == ":memory:" or name.startswith("file:"):
        raise DatabaseError("a history in memory is lost when flyball ends", where=where, mend=_FORMS)
    try:
        path = Path(name).expanduser().absolute()
    except RuntimeError as error:
        raise DatabaseError("names a home folder that does not exist", where=where, mend=_FORMS) from error
    return Address(url=url.set(database=str(path)), place=str(path), path=path)


def _postgresql_address(url: URL) -> Address:
    hidden = {name: "***" for name in _SECRET_PARAMETERS if name in url.query}
    shown = url.update_query_dict(hidden).set(drivername=POSTGRESQL)
    return Address(url=url, place=shown.render_as_string(hide_password=True), path=None)


def masked(text: str) -> str:
    """Return a URL, even a malformed one, with what may be a password masked."""
    text = re.sub(r"(//[^/?@:]*):.*(?=@)", r"\1:***", text)
    return re.sub(r"((?:ssl)?password=)[^&]*", r"\1***", text)
