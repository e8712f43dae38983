"""Asks an agent for the tuning request that ``autotune --from-alert`` starts from."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flyball.agent.redact import redact_urls
from flyball.agent.top.agent_client import read_token, tls_context
from flyball.agent.tuning_request import FROM_ALERT, TuningRequestAnswer, newest_open, read_request
from flyball.errors import OptionError

if TYPE_CHECKING:
    import httpx2

TOKEN_FILE, CA_FILE = "--agent-token-file", "--agent-ca-file"
TIMEOUT_SECONDS = 5.0
MOST_BYTES = 16 << 20
PATH = "/api/v1/tuning_requests"

_STATUSES = {
    401: ("the agent wants credentials", f"name the file of its token: {TOKEN_FILE} FILE"),
    403: ("the agent does not let this token read", f"name the file of another: {TOKEN_FILE} FILE"),
    404: ("there is no such tuning request", f"see {PATH} of the agent, or give its address alone"),
}
_ADDRESS = f"write it as in http://127.0.0.1:19753{PATH}/7, or the agent's address alone for the newest"


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundRequest:
    """A tuning request and where it stands."""

    request: TuningRequestAnswer
    url: str
    """Without credentials."""


def fetch_request(url: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> FoundRequest:
    """Ask an agent, once and for seconds only.

    Args:
        url: of a request, or the agent's own for the newest that nobody began with; may carry a user and
            password.
        token_file: holds the bearer token.
        ca_file: certificates to trust in place of the system's.

    Raises:
        OptionError: the URL, a file or the answer cannot be used; one line says which.
    """
    address = agent_address(url)
    root, number = _parts(address.path)
    path = f"{root}{PATH}" + (f"/{number}" if number else "")
    asked = address.copy_with(path=path, username=None, password=None)
    with agent_client(address, token_file=token_file, ca_file=ca_file) as client:
        body = _body(client, asked)
    return _found(body, asked, is_list=number is None)


def agent_client(address: "httpx2.URL", *, token_file: Path | None, ca_file: Path | None) -> "httpx2.Client":
    """Return what asks an agent with the user's credentials: those of a file go before those of the URL.

    Raises:
        OptionError: a file cannot be used.
    """
    import httpx2

    auth = (address.username, address.password) if address.userinfo and token_file is None else None
    headers = {"Accept": "application/json"}
    if token_file is not None:
        headers["Authorization"] = f"Bearer {read_token(token_file, where=TOKEN_FILE)}"
    verify = tls_context(ca_file, where=CA_FILE) if address.scheme == "https" else False
    # No proxy: an agent is near, and its token is for nobody else.
    return httpx2.Client(headers=headers, auth=auth, verify=verify, timeout=TIMEOUT_SECONDS, trust_env=False)


def _parts(path: str) -> tuple[str, str | None]:
    """Return what stands before the agent's own paths, and the request's number where it is given."""
    found = re.fullmatch(rf"(.*?)(?:{PATH}(?:/(\d+))?)?/*", path)
    assert found is not None, "every path matches"
    return found[1], found[2]


def agent_address(url: str) -> "httpx2.URL":
    """Return the URL as it was given, without query and fragment. Raises OptionError where it is none."""
    import httpx2

    try:
        address = httpx2.URL(url)
    except (httpx2.InvalidURL, TypeError, ValueError) as error:
        raise OptionError(f"{redact_urls(url)} is no URL", where=FROM_ALERT, mend=_ADDRESS) from error
    if address.scheme not in ("http", "https") or not address.host:
        raise OptionError(f"{redact_urls(url)} is no address of an agent", where=FROM_ALERT, mend=_ADDRESS)
    return address.copy_with(query=None, fragment=None)


def _body(client: "httpx2.Client", asked: "httpx2.URL") -> bytes:
    import httpx2

    place = str(asked)
    try:
        with client.stream("GET", asked) as answer:
            if answer.status_code != 200:
                other = (f"status {answer.status_code}", _ADDRESS)
                what, mend = _STATUSES.get(answer.status_code, other)
                raise OptionError(f"{place}: {what}", where=FROM_ALERT, mend=mend)
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > MOST_BYTES:
                    what = f"{place}: the answer is larger than {MOST_BYTES >> 20} MiB"
                    raise OptionError(what, where=FROM_ALERT, mend=_ADDRESS)
            return bytes(body)
    except httpx2.TimeoutException as error:
        what = f"{place} did not answer within {TIMEOUT_SECONDS:g} s"
        raise OptionError(what, where=FROM_ALERT, mend="see that the agent runs there") from error
    except httpx2.RequestError as error:
        why = str(error) or type(error).__name__
        is_trust = "certificate" in why.lower()
        mend = (
            f"name the file of its certificate: {CA_FILE} FILE"
            if is_trust
            else "see that an agent runs there"
        )
        raise OptionError(f"{place} does not answer: {why}", where=FROM_ALERT, mend=mend) from error


def _found(body: bytes, asked: "httpx2.URL", *, is_list: bool) -> FoundRequest:
    try:
        request = newest_open(body) if is_list else read_request(body)
    except ValueError as error:
        what = f"{asked} answers, and not as an agent does: {error}"
        raise OptionError(what, where=FROM_ALERT, mend="see that it is an agent of this version") from error
    if request is None:
        mend = "give the URL of one and --force, if it is to be tuned again"
        raise OptionError(f"{asked} holds no tuning request that is open", where=FROM_ALERT, mend=mend)
    return FoundRequest(request=request, url=f"{asked}/{request.id}" if is_list else str(asked))
