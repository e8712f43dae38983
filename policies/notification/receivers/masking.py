"""Keeps secrets out of whatever is said about a receiver: also those that the other side sends back."""

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlsplit

from flyball.policies.notification.receivers.secret_forms import Forms

MASK = "***"
_LEAST = 4
"""Shorter ones are no secrets, and would mask half of every sentence."""
_LEAST_SEGMENT = 8
"""Of a URL's path: shorter ones are words such as ``alerts``."""
_MOST_CHARACTERS = 200
_MOST_LOOKED_AT = 4096


class Masking:
    """Knows a receiver's secrets; prints none."""

    __slots__ = ("_forms", "_secrets")

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: set[bytes] = set()
        self._forms: Forms | None = None
        self.add(*secrets)

    def add(self, *secrets: str | bytes) -> None:
        """Hide these from now on too: a file may hold another secret at each try."""
        given = {one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one for one in secrets}
        new = {one for one in given if len(one) >= _LEAST} - self._secrets
        if new:
            self._secrets |= new
            self._forms = None

    def add_url(self, url: str) -> None:
        """Hide what may be a token in a URL: user, path and query, as a whole and in parts."""
        parts = urlsplit(url)
        segments = [one for one in parts.path.split("/") if len(one) >= _LEAST_SEGMENT]
        values = [value for _, value in parse_qsl(parts.query)]
        found = [parts.username or "", parts.password or "", parts.path, parts.query, *segments, *values]
        self.add(*found, *map(unquote, found))

    def hide(self, text: str) -> str:
        """Return ``text`` with secrets masked, and parts of them, in whatever form (``secret_forms``)."""
        if self._forms is None:
            self._forms = Forms(self._secrets)
        shown, at = [], 0
        for begin, end in self._forms.spans(text):
            shown += [text[at:begin], MASK]
            at = end
        return "".join((*shown, text[at:]))

    def first_line(self, text: str | bytes) -> str:
        """Return the first line that says something, short, masked and without control characters."""
        whole = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        line = next((line for line in re.split(r"[\r\n]+", whole) if line.strip()), "")
        # Masked before it is cut: half a secret is one too. Not all of a line of 64 KiB is looked through.
        hidden = "".join(one if _is_plain(one) else " " for one in self.hide(line[:_MOST_LOOKED_AT]))
        words = " ".join(hidden.split())
        return words if len(words) <= _MOST_CHARACTERS else words[: _MOST_CHARACTERS - 1] + "…"

    def __repr__(self) -> str:
        return f"Masking({len(self._secrets)} secrets)"


def _is_plain(character: str) -> bool:
    return not unicodedata.category(character).startswith("C")
