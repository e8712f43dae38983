"""Tells of secrets that every user of this machine can read or change."""

from flyball.agent.daemon.config_file import Effective
from flyball.agent.daemon.receivers_config import make_receivers
from flyball.clock import SystemClock
from flyball.file_system import is_open_to_all
from flyball.policies.notification.receivers.secret_files import OPEN_TO_ALL, Warn


def note_open_token(effective: Effective, warn: Warn) -> None:
    """Say so where the agent's own token is such a secret."""
    path = effective.config.bearer_token_file
    if path is not None and is_open_to_all(path):
        warn(OPEN_TO_ALL, where="bearer_token_file", mend=f"chmod 600 {path}")


def note_open_secrets(effective: Effective, warn: Warn) -> None:
    """Say so of the agent's token and of every receiver's secrets.

    Raises:
        OptionError: a file cannot be used.
    """
    note_open_token(effective, warn)
    clock, folder = SystemClock(), effective.folder
    make_receivers(effective.receivers, clock=clock, external_url="", folder=folder, warn=warn)
