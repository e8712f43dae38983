"""What our mapped tables have in common: where they stand, and column types."""

from typing import Any

from sqlalchemy.orm import DeclarativeBase

from flyball.history.columns import Number, PlainJson, Words
from flyball.history.metadata import METADATA


class Base(DeclarativeBase):
    """Root of our mapped tables; the agent's are not mapped (``alert_tables``)."""

    metadata = METADATA
    type_annotation_map = {str: Words, float: Number, dict[str, Any]: PlainJson, list[str]: PlainJson}  # noqa: RUF012
