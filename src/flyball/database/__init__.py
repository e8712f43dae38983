"""One database by URL: SQLite on a local disk, or PostgreSQL where hosts share it."""

from flyball.database.address import anchored, parse_address
from flyball.database.base import Transactions
from flyball.database.connection import Database
from flyball.database.opening import open_database

__all__ = ["Database", "Transactions", "anchored", "open_database", "parse_address"]
