"""Whose alerts are whose, where agents share a database."""

import socket

from flyball.database import Transactions

ALONE = "local"
"""A SQLite file has one agent, and a container gets another host name with every start."""


def agent_name(database: Transactions, given: str | None) -> str:
    """Return the name that was given, else this host's where the database is a server's."""
    if given is not None:
        return given
    return ALONE if database.is_sqlite else socket.gethostname()
