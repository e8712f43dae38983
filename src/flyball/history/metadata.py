"""What all our tables stand in, whether the ORM maps them or not; imports nothing of the ORM."""

from sqlalchemy import MetaData

PREFIX = "flyball_"
"""Optuna's tables stand beside ours."""

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
