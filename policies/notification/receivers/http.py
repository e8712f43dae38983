"""The one HTTP client of the receivers: bounded in time and size, and never led astray.

It stands on the core of httpx2, which follows no redirect, asks no proxy, keeps no cookies, unpacks no
compressed answer and logs no URL; httpx2's own client does each of these.
"""

import asyncio
import logging
import ssl
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import httpcore2
import httpx2

from flyball.errors import OptionError
from flyball.policies.notification.receivers.pinned import PinnedBackend, Resolve, resolve
from flyball.policies.notification.receivers.web_address import WebAddress

# At debug level the library logs what servers send, who may send back any secret that they heard.
logging.getLogger("httpcore2").setLevel(logging.WARNING)

MOST_BYTES = 65_536
"""What is read of an answer; then the connection is closed."""
CONNECT_SECONDS = 5.0
"""The most that resolving, connecting and the TLS handshake may take each, of the total."""
_KEEP_SECONDS = 1.0
"""For a burst. Servers drop idle connections after 2 s and more: one that is dropped unseen costs a try."""
_MOST_CONNECTIONS = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpAnswer:
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    """Names in small letters; of one that comes twice, the last."""
    body: bytes = field(repr=False)
    """At most ``MOST_BYTES`` of it, and what had come when it broke off."""


def tls_context(ca_file: Path | None, *, where: str) -> ssl.SSLContext:
    """Return what certificates are checked with: those of ``ca_file``, or else the system's.

    Raises:
        OptionError: the file cannot be read or holds no certificate.
    """
    if ca_file is None:
        return httpx2.create_ssl_context()
    mend = "name a file of certificates (PEM)"
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise OptionError(f"{ca_file} holds no certificate", where=where, mend=mend) from error
    except OSError as error:
        raise OptionError(f"{ca_file}: {error.strerror}", where=where, mend=mend) from error


class HttpClient:
    """Posts to addresses.

    Args:
        private_network: whether loopback and private addresses are allowed.
        timeout_seconds: for a whole try, from resolving the name to the answer's last byte that is read.
        tls: what certificates are checked with.
        resolve: looks names up.
    """

    def __init__(
        self,
        *,
        private_network: bool,
        timeout_seconds: float,
        tls: ssl.SSLContext,
        resolve: Resolve = resolve,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        connect = min(CONNECT_SECONDS, timeout_seconds)
        self._timeouts = {"connect": connect, "read": timeout_seconds, "write": timeout_seconds}
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=_MOST_CONNECTIONS,
            keepalive_expiry=_KEEP_SECONDS,
            network_backend=PinnedBackend(private_network=private_network, resolve=resolve),
        )

    async def post(self, address: WebAddress, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Return the answer; once its head is there, what becomes of its body changes nothing.

        Raises:
            TimeoutError: no answer in time.
            AddressRefused, NameNotResolved: no connection was tried.
            ssl.SSLError: no TLS connection; ``SSLCertVerificationError`` for a bad certificate.
            OSError: no connection.
            httpcore2.ProtocolError, httpcore2.NetworkError: the answer's head never came, or is no HTTP.
        """
        heard: list[HttpAnswer] = []
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._exchange(address, body, headers, heard)
        except (TimeoutError, httpcore2.TimeoutException) as error:
            if not heard:
                raise TimeoutError(f"no answer within {self._timeout_seconds:g} s") from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            if not heard:
                raise _cause(error) from error
        return heard[-1]

    async def _exchange(
        self, address: WebAddress, body: bytes, headers: Mapping[str, str], heard: list[HttpAnswer]
    ) -> None:
        request = _request(address, body, headers, self._timeouts)
        response = await self._pool.handle_async_request(request)
        try:
            got = bytearray()
            found = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            heard.append(HttpAnswer(status=response.status, headers=found, body=b""))
            async with aclosing(response.aiter_stream()) as chunks:
                async for chunk in chunks:
                    got += chunk[: MOST_BYTES - len(got)]
                    heard[:] = [HttpAnswer(status=response.status, headers=found, body=bytes(got))]
                    if len(got) >= MOST_BYTES:
                        break
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()


def _request(
    address: WebAddress, body: bytes, headers: Mapping[str, str], timeouts: Mapping[str, float]
) -> httpcore2.Request:
    url = address.url
    all_headers = {"Host": url.netloc.decode("ascii"), "Content-Length": str(len(body)), **headers}
    return httpcore2.Request(
        "POST",
        httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
        headers=[(name.encode("ascii"), value.encode("utf-8")) for name, value in all_headers.items()],
        content=body,
        extensions={"timeout": dict(timeouts)},
    )


def _cause(error: Exception) -> Exception:
    """Return the system's own error where the libraries wrapped one: it says more."""
    found, inner = error, _within(error)
    while inner is not None:
        if isinstance(inner, OSError) and not isinstance(inner, TimeoutError):
            found = inner
        inner = _within(inner)
    return found


def _within(error: Exception) -> Exception | None:
    # httpcore2 hands the cause on as an argument, and cuts the chain.
    for inner in (*error.args[:1], error.__cause__):
        if isinstance(inner, Exception):
            return inner
    return None
