"""Connects to the addresses that were checked, and to no others: a name cannot change in between."""

import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import httpcore2

from flyball.policies.notification.receivers.closing_stream import ClosingStream
from flyball.policies.notification.receivers.reach import Reach, reach_of
from flyball.policies.notification.receivers.side_thread import in_side_thread

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns every address of a host; raises OSError where the name has none."""


class AddressRefused(Exception):
    """A name resolves to an address that may not be connected to."""


class NameNotResolved(Exception):
    """A name has no address, or no name server answers."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system, which also knows ``/etc/hosts``."""

    def ask() -> list[str]:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(address[0]) for *_, address in found))

    return await in_side_thread(ask)


class PinnedBackend(httpcore2.AsyncNetworkBackend):
    """Resolves a host once for each connection, checks every address, and connects to one of these.

    TLS is made by the caller with the name that it asked for, so that certificates are checked as ever.

    Args:
        private_network: whether loopback and private addresses are allowed too.
        resolve: asked once a connection.
        inner: makes the connection; gets addresses only.
    """

    def __init__(
        self,
        *,
        private_network: bool,
        resolve: Resolve = resolve,
        inner: httpcore2.AsyncNetworkBackend | None = None,
    ) -> None:
        self._most = Reach.PRIVATE if private_network else Reach.PUBLIC
        self._resolve = resolve
        self._inner = inner or httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first address that answers.

        Raises:
            AddressRefused: one of the addresses may not be connected to, so none is.
            NameNotResolved: there is none.
            httpcore2.ConnectError, httpcore2.ConnectTimeout: none of them answers.
        """
        deadline = time.monotonic() + (60.0 if timeout is None else timeout)
        addresses = await self._checked(host, port)
        for left in range(len(addresses), 0, -1):
            # Each gets its share: a black hole in front must not take the time of those behind.
            share = max(0.0, deadline - time.monotonic()) / left
            try:
                stream = await self._inner.connect_tcp(
                    addresses[-left], port, share, local_address, socket_options
                )
                return ClosingStream(stream)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if left == 1:
                    raise
        raise NameNotResolved(f"{host} has no address")

    async def _checked(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = await self._resolve(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: no name server would take it
            why = getattr(error, "strerror", None) or str(error)
            raise NameNotResolved(f"{host} has no address: {why}") from error
        for address in addresses:
            reach = reach_of(address)
            if reach > self._most:
                raise AddressRefused(refusal(host, address, reach))
        return addresses

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.AsyncNetworkStream:
        """Never: no URL leads here."""
        raise AddressRefused(f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``."""
        await self._inner.sleep(seconds)


def refusal(host: str, address: str, reach: Reach) -> str:
    """Say why ``address``, which ``host`` resolves to, is refused."""
    is_at = "is" if host == address else f"resolves to {address}, which is"
    if reach is Reach.FORBIDDEN:
        return f"{host} {is_at} never connected to (link-local, metadata, multicast or reserved)"
    return f"{host} {is_at} private; set private_network: true if that is meant"
