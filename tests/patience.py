"""How long tests wait for what must happen."""

from typing import Any

import httpx2

PATIENCE_SECONDS = 300.0
"""Then it is taken to be lost. On a machine with other work what takes 3 s may take 50 s; where all is well
nobody waits for longer than it takes."""


def fetch(url: str, **more: Any) -> httpx2.Response:
    """Get a page, as ``httpx2.get`` does in 5 s or not at all."""
    return httpx2.get(url, timeout=PATIENCE_SECONDS, **more)
