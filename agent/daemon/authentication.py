"""Who may ask: basic auth (bcrypt) and a bearer token. Every path is behind it, as in exporter-toolkit."""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from enum import Enum, auto
from pathlib import Path

from flyball.agent.daemon.worker import Worker
from flyball.errors import OptionError
from flyball.file_system import open_regular

_MOST_REMEMBERED = 256
_MOST_WAITING = 16
_LEAST_TOKEN = 16
_MOST_BYTES = 1 << 16
_NOBODY = "$2b$10$Kd6Z0oPpV9Wb6D1u1dXHEuP0kq5gqWl6Wb7m0yB0kE1b8mUuVd0uK"
"""A hash that nobody has: an unknown name must take as long as a wrong password."""


class Verdict(Enum):
    """What becomes of a request."""

    GRANTED = auto()
    REFUSED = auto()
    BUSY = auto()
    """Too many credentials wait to be verified."""


def read_token(path: Path) -> str:
    """Read a bearer token.

    Raises:
        OptionError: the file cannot be read, or holds less than 16 characters.
    """
    try:
        with open_regular(path) as file:
            token = file.read(_MOST_BYTES).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = (error.strerror if isinstance(error, OSError) else None) or "cannot be read"
        raise OptionError(what, where=str(path), mend="name a file that holds the token") from error
    if len(token) < _LEAST_TOKEN or token.split() != [token]:
        mend = "make one with: openssl rand -hex 32"
        raise OptionError("holds no token of 16 or more characters", where=str(path), mend=mend)
    return token


class Authentication:
    """Verifies credentials. bcrypt is slow on purpose: it has a thread, and its successes are remembered."""

    def __init__(self, users: Mapping[str, str], token: str | None, worker: Worker) -> None:
        self._worker, self._waiting = worker, 0
        self._key = secrets.token_bytes(32)
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self.change(users, token)

    def change(self, users: Mapping[str, str], token: str | None) -> None:
        """Take over other users and another token; nothing that was verified before counts any more."""
        self._users, self._token = dict(users), token
        self._good.clear()

    @property
    def required(self) -> bool:
        """Whether a request needs credentials at all."""
        return bool(self._users) or self._token is not None

    async def verdict(self, authorization: str) -> Verdict:
        """Judge a request by its Authorization header."""
        scheme, _, given = authorization.partition(" ")
        given = given.strip()
        if scheme.lower() == "bearer" and self._token is not None:
            same = hmac.compare_digest(given.encode(), self._token.encode())
            return Verdict.GRANTED if same else Verdict.REFUSED
        if scheme.lower() != "basic" or not self._users:
            return Verdict.REFUSED
        try:
            name, colon, password = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return Verdict.REFUSED
        return await self._basic(name, password) if colon else Verdict.REFUSED

    async def _basic(self, name: str, password: str) -> Verdict:
        mark = hmac.new(self._key, f"{name}\0{password}".encode(), hashlib.sha256).digest()
        if mark in self._good:
            self._good.move_to_end(mark)
            return Verdict.GRANTED
        if self._waiting >= _MOST_WAITING:
            return Verdict.BUSY
        users = self._users
        stored = users.get(name, _NOBODY)
        self._waiting += 1
        try:
            right = await self._worker.submit(lambda: _matches(password, stored)) and name in users
        finally:
            self._waiting -= 1
        if right and users is self._users:
            self._good[mark] = None
            if len(self._good) > _MOST_REMEMBERED:
                self._good.popitem(last=False)
        return Verdict.GRANTED if right else Verdict.REFUSED


def _matches(password: str, stored: str) -> bool:
    import bcrypt  # only where basic auth is used

    try:
        # bcrypt itself reads no more than 72 bytes.
        return bcrypt.checkpw(password.encode()[:72], stored.encode())
    except ValueError:  # a NUL in the password
        return False
