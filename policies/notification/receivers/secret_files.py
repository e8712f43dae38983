"""Secrets, which are in files only. Each is read anew for each try, so that a rotated one counts at once."""

import asyncio
import base64
import binascii
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from flyball.errors import OptionError
from flyball.file_system import is_open_to_all, open_regular
from flyball.policies.notification.receivers.side_thread import in_side_thread

SIGNING_PREFIX = "whsec_"
MAKE_SIGNING_SECRET = 'echo "whsec_$(openssl rand -base64 32)"'
_MOST_BYTES = 65_536
READ_SECONDS = 5.0
OPEN_TO_ALL = "every user can read or change a secret's file"
_LEAST_KEY, _MOST_KEY = 24, 64
"""Bytes of a signing key, by the specification of Standard Webhooks."""


Check = Callable[[str], str | None]
"""Returns what is wrong with a secret's text, the mend behind a semicolon, or None; it quotes nothing."""


class Warn(Protocol):
    """Takes in what needs attention, as a log does."""

    def __call__(self, event: str, **values: object) -> object:
        """Say it, with its values."""
        ...


def unheard(event: str, **values: object) -> None:
    """What is said is heard by nobody."""
    del event, values


class SecretUnreadable(Exception):
    """A secret's file, which could be read at the start, cannot be any more, or holds something else."""


class SecretFile:
    """One secret; it shows its file and never what is in it.

    Args:
        path: of the file.
        where: key path of the setting that names it.
        check: what it must be.
        warn: says what needs attention.
        read_seconds: the longest that a try waits for the file; a network's file system may hang.
    """

    __slots__ = ("_check", "_is_slow", "_last", "_path", "_read_seconds", "_reading", "_warn", "_where")

    def __init__(
        self, *, path: Path, where: str, check: Check, warn: "Warn", read_seconds: float = READ_SECONDS
    ) -> None:
        self._path, self._where, self._check = path, where, check
        self._warn, self._read_seconds = warn, read_seconds
        self._last: str | None = None
        self._reading: asyncio.Task[str | SecretUnreadable] | None = None
        self._is_slow = False

    async def read(self) -> str:
        """Return the secret, read anew beside the event loop; where the file does not answer, the last one.

        Raises:
            SecretUnreadable: it cannot be read; the secret is not quoted.
        """
        if self._reading is None or self._reading.done():
            self._is_slow = False
            self._reading = asyncio.ensure_future(in_side_thread(self._fault_or_text))
        # A file that hangs is waited for once, and not by each try anew.
        done, _ = await asyncio.wait({self._reading}, timeout=0 if self._is_slow else self._read_seconds)
        if not done:
            return self._instead()
        what = self._reading.result()
        if isinstance(what, SecretUnreadable):
            raise what
        self._last = what
        return what

    def _instead(self) -> str:
        what = f"{self._path}: was not read within {self._read_seconds:g} s"
        if self._last is None:
            raise SecretUnreadable(f"{what}; see whether its file system answers")
        if not self._is_slow:
            self._warn("secret not read anew; the last one stands", where=self._where, reason=what)
        self._is_slow = True
        return self._last

    def checked(self) -> "SecretFile":
        """Return itself if the secret can be read now.

        Raises:
            OptionError: it cannot, with the setting's key path and the mend.
        """
        what = self._fault_or_text()
        if isinstance(what, SecretUnreadable):
            said, _, mend = str(what).partition("; ")
            raise OptionError(said, where=self._where, mend=mend or "name a file that holds it")
        if is_open_to_all(self._path):
            self._warn(OPEN_TO_ALL, where=self._where, mend=f"chmod 600 {self._path}")
        self._last = what
        return self

    def _fault_or_text(self) -> "str | SecretUnreadable":
        try:
            with open_regular(self._path) as file:
                text = file.read(_MOST_BYTES).decode("ascii").strip()
        except OSError as error:
            return SecretUnreadable(f"{self._path}: {error.strerror or 'cannot be read'}")
        except UnicodeDecodeError:
            return SecretUnreadable(f"{self._path}: is not ASCII text")
        fault = self._check(text) if text else "is empty"
        return SecretUnreadable(f"{self._path}: {fault}") if fault else text

    def __repr__(self) -> str:
        return f"SecretFile({str(self._path)!r})"


def one_word(text: str) -> str | None:
    """Check a token or password: one line, nothing that could end a header."""
    if text.isprintable():
        return None
    return "holds more than one line; name a file that holds the secret alone"


def signing_secret(text: str) -> str | None:
    """Check a secret as Standard Webhooks writes it: ``whsec_`` and 24 to 64 bytes in base64."""
    mend = f"make one with: {MAKE_SIGNING_SECRET}"
    if not text.startswith(SIGNING_PREFIX):
        return f"holds no secret that begins with {SIGNING_PREFIX}; {mend}"
    try:
        size = len(base64.b64decode(text.removeprefix(SIGNING_PREFIX), validate=True))
    except binascii.Error:
        return f"holds no base64 behind {SIGNING_PREFIX}; {mend}"
    if not _LEAST_KEY <= size <= _MOST_KEY:
        return f"holds a key of {size} bytes, not of {_LEAST_KEY} to {_MOST_KEY}; {mend}"
    return None
