"""What a study begins with: the command that was typed, or the run of an agent's tuning request."""

import os
from dataclasses import dataclass
from pathlib import Path

from flyball.errors import OptionError
from flyball.tuners.lead import Lead


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStart:
    """What is tuned, and where it runs."""

    command: tuple[str, ...]
    cwd: Path
    config: Path | None = None
    lead: Lead | None = None


def check_agent_files(*, token_file: Path | None, ca_file: Path | None) -> None:
    """Raise OptionError for files that are for an agent, where none is asked."""
    for option, path in (("--agent-token-file", token_file), ("--agent-ca-file", ca_file)):
        if path is not None:
            raise OptionError(
                "no agent is asked", where=option, mend="leave it out, or give --from-alert URL"
            )


def start_from_alert(
    url: str,
    *,
    command: tuple[str, ...] | None,
    cwd: Path,
    config: Path | None,
    token_file: Path | None,
    ca_file: Path | None,
    host: str | None = None,
) -> StudyStart:
    """Ask an agent for a tuning request and return the study that it means.

    Args:
        url: of the request or of the agent.
        command: that the user gave all the same: it runs here, in place of the request's there.
        cwd: the current folder.
        config: that the user named.
        token_file: holds the agent's bearer token.
        ca_file: certificates to trust.
        host: this machine's name; None asks the machine.

    Raises:
        BadInput: there is no such request, or its run cannot be started here.
    """
    from flyball.agent.tuning_request_client import fetch_request

    found = fetch_request(url, token_file=token_file, ca_file=ca_file)
    lead = found.request.lead(found.url)
    if command is not None:
        return StudyStart(command=command, cwd=cwd, config=config, lead=lead)
    theirs = found.request.command(host=host or os.uname().nodename)
    folder = found.request.folder()
    return StudyStart(
        command=theirs,
        cwd=folder,
        config=config or found.request.config(theirs, folder),
        lead=lead,
    )


def led_text(lead: Lead) -> str:
    """Return what the user is told of a request."""
    summary = lead.alert.annotations.get("summary", "")
    return f"{lead.alert.rule} fired in the run {lead.run}{f': {summary}' if summary else ''} ({lead.url})"
