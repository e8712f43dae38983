"""Digests by which the history finds what is alike."""

import hashlib
import json
from collections.abc import Sequence

from flyball.history.columns import plain


def command_digest(command: Sequence[str], *context: object) -> str:
    """Return the SHA-256 of a command's tokens and of whatever else makes it the same job.

    Args:
        command: the user's command, token by token.
        context: JSON values, for example the working folder and the user's own config.
    """
    text = json.dumps([list(command), plain(context)], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
