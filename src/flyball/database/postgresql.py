"""Connecting to PostgreSQL through psycopg."""

from sqlalchemy import Engine, create_engine

from flyball.database.address import Address
from flyball.errors import DatabaseError

_CONNECT_TIMEOUT_SECONDS = 10


def postgresql_engine(address: Address) -> Engine:
    """Return an engine; it connects when it is first used.

    Raises:
        DatabaseError: psycopg is not installed.
    """
    arguments = (
        {} if "connect_timeout" in address.url.query else {"connect_timeout": _CONNECT_TIMEOUT_SECONDS}
    )
    try:
        # A server that was restarted between two trials is no fault: the pool tries a connection before use.
        return create_engine(address.url, connect_args=arguments, pool_pre_ping=True)
    except ImportError as error:
        raise DatabaseError(
            "the PostgreSQL driver is not installed",
            where=address.place,
            mend="pip install 'flyball[postgres]'",
        ) from error
