"""Tells an agent that ``autotune`` begins with a tuning request, so that nobody else does."""

from pathlib import Path

from flyball.agent.durations import format_duration
from flyball.agent.tuning_request import FROM_ALERT
from flyball.agent.tuning_request_client import FoundRequest, agent_address, agent_client
from flyball.errors import OptionError

_ANYWAY = "give --force to start with it all the same"
_NOT_ALLOWED = (
    "its agent does not allow it; write allow_admin: true, with a bearer_token_file, in its flyball.yaml"
)


def check_open(found: FoundRequest, *, now: float) -> None:
    """Raise OptionError where somebody has begun with a request; ``now`` is in seconds since the epoch."""
    taken = found.request.taken_time
    if taken is not None:
        ago = format_duration(max(0.0, now - taken))
        raise OptionError(f"{found.url} was taken {ago} ago", where=FROM_ALERT, mend=_ANYWAY)


def take_request(
    found: FoundRequest, given: str, *, token_file: Path | None, ca_file: Path | None, force: bool = False
) -> str | None:
    """Mark a request as begun, once and for seconds only; return what the user should know.

    Args:
        found: the request.
        given: the URL that the user gave; may carry a user and password.
        token_file: holds the agent's bearer token.
        ca_file: certificates to trust.
        force: whether it does not matter that somebody else was first.

    Raises:
        OptionError: somebody else was first, or a file cannot be used.
    """
    import httpx2

    if found.request.taken_time is not None:
        return None
    try:
        with agent_client(agent_address(given), token_file=token_file, ca_file=ca_file) as client:
            status = client.post(f"{found.url}/take").status_code
    except httpx2.HTTPError as error:
        why = str(error) or type(error).__name__
        return f"{found.url} could not be marked as taken and stays open: {why}"
    if status == 404 and not force:
        raise OptionError(f"{found.url} was taken this moment", where=FROM_ALERT, mend=_ANYWAY)
    if status in (200, 404):
        return None
    why = _NOT_ALLOWED if status == 403 else f"its agent answers with status {status}"
    return f"{found.url} could not be marked as taken and stays open: {why}"
