"""A database as those see it who keep their records there."""

from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy import Connection, Dialect


class Transactions(Protocol):
    """One transaction at a time; each raises StorageFailed when the database gives out."""

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        ...

    @property
    def dialect(self) -> Dialect:
        """Which SQL it speaks."""
        ...

    def querying(self) -> AbstractContextManager[Connection]:
        """Give a connection that sees one state of the database; what is changed over it is dropped."""
        ...

    def changing(self) -> AbstractContextManager[Connection]:
        """Give a connection whose changes are committed at the end, or dropped by an exception."""
        ...
