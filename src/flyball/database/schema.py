"""Brings our tables to the newest schema; whatever else is in the database is not ours to touch."""

import re
from importlib import resources

from sqlalchemy import Connection, Engine, inspect, text

from flyball.database.address import POSTGRESQL
from flyball.database.connection import immediate
from flyball.errors import DatabaseError

MIGRATIONS = "flyball.history:migrations"
VERSION_TABLE = "flyball_alembic_version"
"""Not alembic's default name, which Optuna uses in the same database."""
_LOCK = 0x666C7962616C6C
"""Key of the advisory lock under which PostgreSQL is migrated: "flyball" in ASCII."""


def upgrade(engine: Engine, place: str, *, lock_timeout_seconds: float) -> None:
    """Apply what migrations are missing, in one transaction that no second process can share.

    Raises:
        DatabaseError: the schema is newer than this version of flyball.
    """
    if is_current(engine, place):
        return
    # Imported only now, and rarely: it takes more memory than all that is done here.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    with immediate(engine).connect() as connection, connection.begin():
        if connection.dialect.name == POSTGRESQL:
            _lock(connection, lock_timeout_seconds)
        # Another process may have been first while this one waited for the lock; alembic looks again.
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def is_current(engine: Engine, place: str) -> bool:
    """Whether no migration is missing.

    Raises:
        DatabaseError: the schema is newer than this version of flyball.
    """
    known = revisions()
    with engine.connect() as connection:
        found: set[str] = set()
        if inspect(connection).has_table(VERSION_TABLE):
            found = set(connection.scalars(text(f"SELECT version_num FROM {VERSION_TABLE}")))
    if found - set(known):
        raise DatabaseError(
            "was written by a newer version of flyball",
            where=place,
            mend="update flyball (pip install -U flyball), or name another database",
        )
    return found == {known[-1]}


def revisions() -> tuple[str, ...]:
    """The migrations that there are, the first one first: they are numbered, and each follows the last."""
    package, _, folder = MIGRATIONS.partition(":")
    names = (each.name for each in (resources.files(package) / folder / "versions").iterdir())
    found = (re.fullmatch(r"revision_(\d+)_\w+\.py", name) for name in names)
    return tuple(sorted(one[1] for one in found if one))


def _lock(connection: Connection, timeout_seconds: float) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = {round(timeout_seconds * 1000)}"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
