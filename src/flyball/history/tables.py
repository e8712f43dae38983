"""What our tables have in common: the prefix, so that Optuna's stand beside them, and column types."""

from typing import Any

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from flyball.history.columns import Number, PlainJson, Words

PREFIX = "flyball_"


class Base(DeclarativeBase):
    """Root of our tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {str: Words, float: Number, dict[str, Any]: PlainJson, list[str]: PlainJson}  # noqa: RUF012
