"""What a study begins with: the command that was typed, or the run of an agent's tuning request."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flyball.clock import Clock, SystemClock
from flyball.errors import OptionError
from flyball.tuners.job.lead import Lead


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStart:
    """What is tuned, and where it runs."""

    command: tuple[str, ...]
    cwd: Path
    config: Path | None = None
    lead: Lead | None = None
    take: Callable[[], str | None] = lambda: None
    """Marks the agent's request as begun; returns what the user should know, and raises OptionError where
    somebody else was first."""


def check_no_agent(*, token_file: Path | None, ca_file: Path | None, force: bool) -> None:
    """Raise OptionError for options that are for an agent, where none is asked."""
    given = {"--agent-token-file": token_file, "--agent-ca-file": ca_file, "--force": force or None}
    for option, value in given.items():
        if value is not None:
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
    force: bool = False,
    host: str | None = None,
    clock: Clock | None = None,
) -> StudyStart:
    """Ask an agent for a tuning request and return the study that it means.

    Args:
        url: of the request or of the agent.
        command: that the user gave all the same: it runs here, in place of the request's there.
        cwd: the current folder.
        config: that the user named.
        token_file: holds the agent's bearer token.
        ca_file: certificates to trust.
        force: whether somebody may have begun with the request already.
        host: this machine's name; None asks the machine.
        clock: wall time.

    Raises:
        BadInput: there is no such request, or its run cannot be started here.
    """
    from flyball.agent.tuning_request_client import fetch_request
    from flyball.agent.tuning_request_take import check_open, take_request

    found = fetch_request(url, token_file=token_file, ca_file=ca_file)
    if not force:
        check_open(found, now=(clock or SystemClock()).time())
    lead = found.request.lead(found.url)
    take = partial(take_request, found, url, token_file=token_file, ca_file=ca_file, force=force)
    if command is not None:
        return StudyStart(command=command, cwd=cwd, config=config, lead=lead, take=take)
    theirs = found.request.command(host=host or os.uname().nodename)
    folder = found.request.folder()
    return StudyStart(
        command=theirs,
        cwd=folder,
        config=config or found.request.config(theirs, folder),
        lead=lead,
        take=take,
    )


def led_text(lead: Lead) -> str:
    """Return what the user is told of a request."""
    summary = lead.alert.annotations.get("summary", "")
    return f"{lead.alert.rule} fired in the run {lead.run}{f': {summary}' if summary else ''} ({lead.url})"
