"""Secrets, which are in files only. Each is read anew for each try, so that a rotated one counts at once."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flyball.errors import OptionError
from flyball.file_system import open_regular

SIGNING_PREFIX = "whsec_"
MAKE_SIGNING_SECRET = 'echo "whsec_$(openssl rand -base64 32)"'
_MOST_BYTES = 65_536
_LEAST_KEY, _MOST_KEY = 24, 64
"""Bytes of a signing key, by the specification of Standard Webhooks."""


Check = Callable[[str], str | None]
"""Returns what is wrong with a secret's text, the mend behind a semicolon, or None; it quotes nothing."""


class SecretUnreadable(Exception):
    """A secret's file, which could be read at the start, cannot be any more, or holds something else."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFile:
    """One secret; it shows its file and never what is in it."""

    path: Path
    where: str = field(compare=False)
    """Key path of the setting that names it."""
    check: Check = field(compare=False, repr=False)

    def read(self) -> str:
        """Return the secret. Raises SecretUnreadable, which does not quote it."""
        what = self._fault_or_text()
        if isinstance(what, SecretUnreadable):
            raise what
        return what

    def checked(self) -> "SecretFile":
        """Return itself if the secret can be read now.

        Raises:
            OptionError: it cannot, with the setting's key path and the mend.
        """
        what = self._fault_or_text()
        if isinstance(what, SecretUnreadable):
            said, _, mend = str(what).partition("; ")
            raise OptionError(said, where=self.where, mend=mend or "name a file that holds it")
        return self

    def _fault_or_text(self) -> "str | SecretUnreadable":
        try:
            with open_regular(self.path) as file:
                text = file.read(_MOST_BYTES).decode("ascii").strip()
        except OSError as error:
            return SecretUnreadable(f"{self.path}: {error.strerror or 'cannot be read'}")
        except UnicodeDecodeError:
            return SecretUnreadable(f"{self.path}: is not ASCII text")
        fault = self.check(text) if text else "is empty"
        return SecretUnreadable(f"{self.path}: {fault}") if fault else text


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
