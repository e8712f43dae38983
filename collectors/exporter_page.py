"""Reads the page of another exporter: bounded in time and size, and never from elsewhere than it was told."""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import urlsplit

from flyball.collectors.base import CollectorFailed

MOST_BYTES = 8 << 20
UNREACHABLE = "exporter_unreachable"
BAD_ANSWER = "exporter_bad_answer"
_READ_BYTES = 1 << 16


def read_page(url: str, *, timeout_seconds: float, monotonic: Callable[[], float]) -> str:
    """The page's text.

    No redirect is followed and no proxy is asked. A server that trickles its headers can take longer than
    ``timeout_seconds``, which then bounds each byte: the agent calls that a stall.

    Args:
        url: http or https, with the path of the page.
        timeout_seconds: for the whole answer.
        monotonic: a clock, in seconds.

    Raises:
        CollectorFailed: ``exporter_unreachable`` for an address without an answer in time;
            ``exporter_bad_answer`` for one that is no page of text with status 200 of at most ``MOST_BYTES``.
    """
    parts = urlsplit(url)
    connect = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    deadline = monotonic() + timeout_seconds
    connection = connect(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Accept": "text/plain;version=0.0.4"})
        with connection.getresponse() as response:
            body = _body(response, url, lambda: monotonic() > deadline)
        return body.decode("utf-8")
    except HTTPException as error:
        raise CollectorFailed(BAD_ANSWER, f"{url}: {type(error).__name__}: {error}") from error
    except UnicodeDecodeError as error:
        raise CollectorFailed(BAD_ANSWER, f"{url}: {error}") from error
    except OSError as error:
        raise CollectorFailed(UNREACHABLE, f"{url}: {error}") from error
    finally:
        connection.close()


def _body(response: HTTPResponse, url: str, is_late: Callable[[], bool]) -> bytes:
    if response.status != 200:
        raise CollectorFailed(BAD_ANSWER, f"{url}: status {response.status}{_elsewhere(response)}")
    body = bytearray()
    while chunk := response.read1(_READ_BYTES):
        body += chunk
        if len(body) > MOST_BYTES:
            raise CollectorFailed(BAD_ANSWER, f"{url}: more than {MOST_BYTES} bytes")
        if is_late():
            raise CollectorFailed(UNREACHABLE, f"{url}: no whole answer in time")
    if response.length:
        raise CollectorFailed(BAD_ANSWER, f"{url}: {response.length} bytes are missing at the end")
    return bytes(body)


def _elsewhere(response: HTTPResponse) -> str:
    place = response.getheader("Location")
    return f", which names {place}; set `url` to the page itself" if place else ""
