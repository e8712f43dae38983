"""Looks up the addresses of a name."""

import socket
from collections.abc import Awaitable, Callable, Sequence

from flyball.policies.notification.receivers.side_thread import in_side_thread

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns every address of a host; raises OSError where the name has none."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system, which also knows ``/etc/hosts``."""

    def ask() -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    return await in_side_thread(ask)
