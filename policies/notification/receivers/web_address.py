"""A URL to send to. Its path and query may hold a token, so it never shows them by itself."""

from dataclasses import dataclass
from typing import Any

import httpx2
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from flyball.policies.notification.receivers.reach import Reach, reach_of

MASK = "***"
_PORTS = {"http": 80, "https": 443}
_LEAST_FREE_PORT = 1024


@dataclass(frozen=True, slots=True, repr=False)
class WebAddress:
    """An http or https URL; ``str`` and ``repr`` of it name scheme, host and port only."""

    url: httpx2.URL

    @classmethod
    def parse(cls, text: str) -> "WebAddress":
        """Check a URL.

        Raises:
            ValueError: it cannot be one to send to; the message has the mend and nothing of the URL's own.
        """
        try:
            url = httpx2.URL(text)
        except (httpx2.InvalidURL, TypeError):
            raise ValueError("is no URL; write one as in https://example.org/alerts") from None
        _check(url)
        return cls(url.copy_with(fragment=None))

    @property
    def shown(self) -> str:
        """``https://example.org:8443/***``."""
        hidden = f"/{MASK}" if self.url.raw_path not in (b"", b"/") else ""
        return f"{self.url.scheme}://{self.url.netloc.decode('ascii')}{hidden}"

    def below(self, path: str) -> "WebAddress":
        """Return the address of ``path`` behind this one's, which may end in a slash."""
        own = self.url.raw_path.decode("ascii").partition("?")[0].rstrip("/")
        return WebAddress(self.url.copy_with(raw_path=f"{own}{path}".encode("ascii")))

    def __str__(self) -> str:
        return self.shown

    def __repr__(self) -> str:
        return f"WebAddress({self.shown})"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Let pydantic make one of text, and show it masked."""
        del source, handler
        shown = core_schema.plain_serializer_function_ser_schema(str)
        return core_schema.no_info_plain_validator_function(_made, serialization=shown)


def _made(value: Any) -> WebAddress:
    if isinstance(value, WebAddress):
        return value
    if not isinstance(value, str):
        raise ValueError("is no URL; write one as in https://example.org/alerts")
    return WebAddress.parse(value)


def _check(url: httpx2.URL) -> None:
    if url.scheme not in _PORTS:
        raise ValueError("is no http or https URL; write one as in https://example.org/alerts")
    if url.userinfo:
        raise ValueError("has a user or password in it; take it out, and name the file that holds it")
    if not url.host:
        raise ValueError("has no host; write one as in https://example.org/alerts")
    if MASK in url.raw_path.decode("ascii"):
        raise ValueError("is masked; write the whole URL")
    port = url.port if url.port is not None else _PORTS[url.scheme]
    if not (port in _PORTS.values() or _LEAST_FREE_PORT <= port <= 65535):
        raise ValueError(
            f"has port {port}, which is another protocol's; name 80, 443 or one from 1024 to 65535"
        )
    if _reach(url.host) is Reach.FORBIDDEN:
        raise ValueError(
            "is never connected to (link-local, metadata, multicast or reserved); name another host"
        )


def _reach(host: str) -> Reach:
    try:
        return reach_of(host.partition("%")[0])
    except ValueError:  # a name: looked up and checked at each connection
        return Reach.PUBLIC
