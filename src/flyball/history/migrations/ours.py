"""Which of a database's objects are ours."""

from flyball.database.schema import VERSION_TABLE
from flyball.history.metadata import PREFIX


def include_object(thing: object, name: str | None, kind: str, reflected: bool, other: object) -> bool:
    """Whether alembic may look at an object: our tables and what is on them, not Optuna's nor a user's."""
    del reflected, other
    table = name if kind == "table" else getattr(getattr(thing, "table", None), "name", None)
    return table is not None and table.startswith(PREFIX) and table != VERSION_TABLE
