"""Keeps secrets out of what is shown and written: passwords in URLs, values of options that carry tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

MASK = "***"

_URL_PASSWORD = re.compile(r"(://[^\s/:@]*):[^\s/@\"]+@")
_SECRET_OPTION = re.compile(
    r"--?([\w.-]*[-_.])?(token|password|passwd|secret|api[-_]?key|access[-_]?key|credentials?)", re.IGNORECASE
)


def redact_urls(text: str) -> str:
    """Return ``text`` with the password of every URL in it masked."""
    return _URL_PASSWORD.sub(rf"\1:{MASK}@", text)


def redact_command(tokens: Sequence[str]) -> list[str]:
    """Return the command with the values of options like ``--hf_token`` and passwords in URLs masked."""
    shown: list[str] = []
    hide_next = False
    for token in tokens:
        name, equals, _ = token.partition("=")
        secret = _SECRET_OPTION.fullmatch(name) is not None
        if hide_next and not token.startswith("-"):
            shown.append(MASK)
        else:
            shown.append(f"{name}={MASK}" if secret and equals else redact_urls(token))
        hide_next = secret and not equals
    return shown
