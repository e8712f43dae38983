"""Keeps secrets out of whatever is said about a receiver: also those that the other side sends back."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

MASK = "***"
_LEAST = 4
"""Shorter ones are no secrets, and would mask half of every sentence."""
_LEAST_SEGMENT = 8
"""Of a URL's path: shorter ones are words such as ``alerts``."""
_MOST_CHARACTERS = 200


class Masking:
    """Knows a receiver's secrets; prints none."""

    __slots__ = ("_secrets",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[str] = set()
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Hide these from now on too: a file may hold another secret at each try."""
        self._secrets.update(secret for secret in secrets if len(secret) >= _LEAST)

    def add_url(self, url: str) -> None:
        """Hide what may be a token in a URL: user, path and query, as a whole and in parts."""
        parts = urlsplit(url)
        segments = [one for one in parts.path.split("/") if len(one) >= _LEAST_SEGMENT]
        values = [value for _, value in parse_qsl(parts.query)]
        found = [parts.username or "", parts.password or "", parts.path, parts.query, *segments, *values]
        self.add(*found, *map(unquote, found))

    def hide(self, text: str) -> str:
        """Return ``text`` with every secret masked."""
        # The longest first: of two that overlap, the shorter would leave a part of the longer.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, MASK)
        return text

    def first_line(self, text: str | bytes) -> str:
        """Return the first line that says something, short, masked and without control characters."""
        whole = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        line = next((line for line in re.split(r"[\r\n]+", whole) if line.strip()), "")
        # Masked before it is cut: half a secret is one too.
        hidden = "".join(one if _is_plain(one) else " " for one in self.hide(line))
        words = " ".join(hidden.split())
        return words if len(words) <= _MOST_CHARACTERS else words[: _MOST_CHARACTERS - 1] + "…"

    def __repr__(self) -> str:
        return f"Masking({len(self._secrets)} secrets)"


def _is_plain(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")
