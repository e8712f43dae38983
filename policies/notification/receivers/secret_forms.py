"""How a secret may look when the other side sends it back: as it is, encoded, or in part."""

import base64
import html
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

RUN = 12
"""So many characters in a row of a secret, in any form, are hidden as the whole is."""
_LEAST_ENCODED = 8
"""Shorter encoded forms stand for too little to be looked for."""
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(ord("A"), ord("Z") + 1)})


class Forms:
    """Finds secrets in a text, in whatever form; ASCII letters are the same in small and capital ones."""

    __slots__ = ("_runs", "_whole")

    def __init__(self, secrets: Iterable[bytes]) -> None:
        found = {_lower(form) for secret in secrets for form in forms(secret)}
        self._whole = tuple(sorted(form for form in found if len(form) < RUN))
        self._runs = {form[at : at + RUN] for form in found for at in range(len(form) - RUN + 1)}

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where secrets stand, or runs of them: begin and end, in order, none touching another."""
        low = _lower(text)
        marked = [(at, at + RUN) for at in range(len(low) - RUN + 1) if low[at : at + RUN] in self._runs]
        marked += [(at, at + len(form)) for form in self._whole for at in _places(low, form)]
        joined: list[tuple[int, int]] = []
        for begin, end in sorted(marked):
            if joined and begin <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(joined[-1][1], end)
            else:
                joined.append((begin, end))
        return joined


def forms(secret: bytes) -> Iterator[str]:
    """Yield a secret as it is, and as base64, hexadecimal, in a URL, in JSON and in HTML."""
    try:
        text = secret.decode("utf-8")
    except UnicodeDecodeError:
        pass  # a key as bytes
    else:
        yield text
        quoted = json.dumps(text)[1:-1]
        written = (
            quoted,
            quoted.replace("/", r"\/"),
            quoted.replace("+", r"\u002b"),
            html.escape(text),
            quote_plus(text),
        )
        yield from (form for form in written if form != text)
    encoded = (
        secret.hex(),
        quote(secret, safe=""),
        "".join(f"%{one:02x}" for one in secret),
        *_base64(secret),
    )
    yield from (form for form in encoded if len(form) >= _LEAST_ENCODED)


def _base64(secret: bytes) -> Iterator[str]:
    """Yield what base64 makes of it wherever it begins within a longer text, in both alphabets."""
    for before in range(3):
        made = base64.b64encode(b"\0" * before + secret).rstrip(b"=").decode("ascii")
        # The first and the last character hold bits of what stands beside it.
        own = made[(0, 2, 3)[before] : len(made) - bool((before + len(secret)) % 3)]
        yield own
        yield own.translate(str.maketrans("+/", "-_"))


def _places(text: str, form: str) -> Iterator[int]:
    at = text.find(form)
    while at >= 0:
        yield at
        at = text.find(form, at + 1)


def _lower(text: str) -> str:
    return text.translate(_LOWER)
