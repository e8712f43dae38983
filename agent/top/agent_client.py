"""Asks an agent over HTTP."""

import base64
import ssl
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from flyball.agent.redact import redact_urls
from flyball.errors import OptionError

TIMEOUT_SECONDS = 5.0
_MOST_BYTES = 256 << 20


class NoAgent(Exception):
    """An agent does not answer as one; its text says why."""


class AgentClient:
    """Asks one agent.

    Args:
        url: as in ``http://127.0.0.1:19753``; may carry a user and password.
        token: bearer token; empty for none.
        ca_file: certificates to trust instead of the system's.

    Raises:
        OptionError: it is no such URL, or the file holds no certificate.
    """

    def __init__(self, url: str, *, token: str = "", ca_file: Path | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            mend = "write it as in http://127.0.0.1:19753"
            raise OptionError(f"{redact_urls(url)} is no address of an agent", where="--url", mend=mend)
        place = parts.netloc.rpartition("@")[2]
        self.url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self._headers = {"Accept": "text/plain, application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        elif parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._context = tls_context(ca_file) if parts.scheme == "https" else None

    def get(self, path: str) -> str:
        """Return what the agent answers. Raises NoAgent."""
        request = urllib.request.Request(f"{self.url}{path}", headers=self._headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS, context=self._context) as answer:
                body: bytes = answer.read(_MOST_BYTES)
                return body.decode()
        except urllib.error.HTTPError as error:
            with error:
                raise NoAgent(_STATUSES.get(error.code, f"status {error.code}")) from error
        except urllib.error.URLError as error:
            raise NoAgent(str(getattr(error.reason, "strerror", None) or error.reason)) from error
        except (OSError, HTTPException, ValueError) as error:
            raise NoAgent(str(error) or type(error).__name__) from error


_STATUSES = {
    401: "it wants credentials: --bearer-token-file, or a user and password in the URL",
    404: "status 404: no agent, or another version of it",
    503: "it is too busy",
}


def tls_context(ca_file: Path | None, *, where: str = "--ca-file") -> ssl.SSLContext:
    """Return what trusts the system's certificates, or a file's.

    Raises:
        OptionError: the file holds none; ``where`` is the option.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        mend = "name a PEM file of certificates"
        raise OptionError(f"{ca_file}: {error.strerror or error}", where=where, mend=mend) from error


def read_token(path: Path, *, where: str = "--bearer-token-file") -> str:
    """Return the token that a file holds. Raises OptionError; ``where`` is the option."""
    mend = "name the file that holds the agent's token"
    try:
        token = path.expanduser().read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise OptionError(f"{path} cannot be read", where=where, mend=mend) from error
    if not token or not token.isprintable() or " " in token:
        raise OptionError(f"{path} holds no token", where=where, mend=mend)
    return token
