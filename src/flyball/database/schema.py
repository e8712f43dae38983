"""Brings our tables to the newest schema; whatever else is in the database is not ours to touch."""

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

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
    config = Config()
    config.set_main_option("script_location", MIGRATIONS)
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    if _is_current(engine, scripts, place):
        return
    with immediate(engine).connect() as connection, connection.begin():
        if connection.dialect.name == POSTGRESQL:
            _lock(connection, lock_timeout_seconds)
        # Another process may have been first while this one waited for the lock; alembic looks again.
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _is_current(engine: Engine, scripts: ScriptDirectory, place: str) -> bool:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        found = set(context.get_current_heads())
    known = {script.revision for script in scripts.walk_revisions()}
    if found - known:
        raise DatabaseError(
            "was written by a newer version of flyball",
            where=place,
            mend="update flyball (pip install -U flyball), or name another database",
        )
    return found == set(scripts.get_heads())


def _lock(connection: Connection, timeout_seconds: float) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = {round(timeout_seconds * 1000)}"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
