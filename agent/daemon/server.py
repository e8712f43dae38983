"""uvicorn with bounds: connections, and the time that a client may take."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any, ClassVar, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from flyball.agent.daemon.config import AgentConfig, host_and_port
from flyball.errors import OptionError

_KEEP_ALIVE_SECONDS = 75
"""More than a scrape interval: Prometheus keeps its connection."""
_GRACE_SECONDS = 2
_BACKLOG = 1024


class BoundedProtocol(H11Protocol):
    """One connection; when there are too many, the one that has been idle longest goes."""

    max_connections: ClassVar[int] = 256
    request_seconds: ClassVar[float] = 15.0
    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take the connection, and close another where there is no room."""
        super().connection_made(transport)
        self._arm()
        self.touched = self.loop.time()
        if len(self.connections) > self.max_connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        """Take what came; the request's time began with its first byte."""
        if self._deadline is None:
            self._arm()
        # uvicorn wakes up ten times a second to keep this true.
        self.server_state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        super().data_received(data)

    def on_response_complete(self) -> None:
        """Stop the request's clock; uvicorn's own closes what stays idle."""
        self._disarm()
        self.touched = self.loop.time()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(self.request_seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    def _make_room(self) -> None:
        others = (cast("BoundedProtocol", one) for one in self.connections if one is not self)
        oldest = min((one for one in others if one.idle), key=lambda one: one.touched, default=self)
        # Its loss is told later; until then it must not be counted.
        self.connections.discard(oldest)
        oldest.transport.abort()


class Server(uvicorn.Server):
    """Leaves signals to the daemon, and wakes for requests only."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Finish what is being answered, and return from ``serve``."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self._ended.wait()


def bind(config: AgentConfig) -> socket.socket:
    """Return a bound socket.

    Raises:
        OptionError: the address is in use, or is not this machine's.
    """
    host, port = host_and_port(config.listen)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        # SO_REUSEADDR lets two sockets have a port until one listens.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        mend = "set listen to a free address, or stop what uses it"
        what = (error.strerror or str(error)).lower()
        raise OptionError(what, where=f"listen: {config.listen}", mend=mend) from error
    listener.setblocking(False)
    return listener


def url(listener: socket.socket, *, tls: bool) -> str:
    """Where to reach a server on ``listener`` from this machine."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def make_server(
    application: Callable[..., Any], config: AgentConfig, context: ssl.SSLContext | None
) -> Server:
    """Return a server for sockets of :func:`bind`."""
    protocol = type(
        "Protocol",
        (BoundedProtocol,),
        {"max_connections": config.max_connections, "request_seconds": config.request_seconds},
    )
    settings = uvicorn.Config(
        application,
        loop="asyncio",
        http=protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        h11_max_incomplete_event_size=config.max_header_bytes,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    settings.load()
    settings.ssl = context
    return Server(settings)
