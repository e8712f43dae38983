"""Adds rows of which there is one for each key, also where two processes add it at once."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Dialect, Table
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    # The agent adds rows without the ORM, and does not load it.
    from sqlalchemy.orm import Session

    from flyball.history.tables import Base


def insert_into(dialect: Dialect, table: "type[Base] | Table") -> Any:
    """Return the database's own INSERT, which knows ON CONFLICT."""
    if dialect.name == "sqlite":
        return sqlite.insert(table)
    # Imported only here: it brings all of the dialect's drivers along.
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


def insert_new(
    session: "Session", model: "type[Base]", values: Mapping[str, Any], *, unique: Sequence[str]
) -> None:
    """Add a row unless there is one with the same ``unique`` columns."""
    insert = insert_into(session.get_bind().dialect, model)
    session.execute(insert.values(**values).on_conflict_do_nothing(index_elements=unique))
