"""Reads ``receivers`` of ``flyball.yaml``: each by its kind's own settings, with the files that they name."""

import difflib
import platform
from collections.abc import Mapping
from pathlib import Path

from flyball.agent.daemon.config import AgentConfig, host_and_port
from flyball.clock import Clock, SystemClock
from flyball.errors import OptionError
from flyball.policies.notification.base import Receiver
from flyball.policies.notification.receivers.registry import Surroundings, make_receiver, receiver_types
from flyball.policies.notification.receivers.secret_files import Warn, unheard
from flyball.policies.notification.receivers.settings import NAME_PATTERN, ReceiverSettings
from flyball.yaml_file import YamlFile

SEE = "docs/webhooks.md"


def read_receivers(file: YamlFile, config: AgentConfig, folder: Path) -> Mapping[str, ReceiverSettings]:
    """Return the settings of every receiver by its name, with all files that they name seen to be usable.

    Raises:
        OptionError: the first fault, with file, line, key and mend.
    """
    found = {name: _settings(file, name, given) for name, given in config.receivers.items()}
    around = Surroundings(clock=SystemClock(), external_url="", folder=folder)
    for name, settings in found.items():
        try:
            make_receiver(name, settings, around)  # it opens no connection
        except OptionError as error:
            where = file.place((error.where or "").split("."))
            raise OptionError(error.what, where=where, mend=error.mend) from error
    return found


def _settings(file: YamlFile, name: str, given: Mapping[str, object]) -> ReceiverSettings:
    kinds = receiver_types()
    place = ["receivers", name]
    if not NAME_PATTERN.fullmatch(name):
        mend = "begin with a letter, and go on with letters, digits, _ and -"
        raise OptionError("is no name of a receiver", where=file.place(place), mend=mend)
    kind = given.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        close = difflib.get_close_matches(str(kind), list(kinds), n=1)
        mend = f"did you mean {close[0]}?" if close else f"write type: {', '.join(kinds)}"
        what = "is missing" if kind is None else "no such type of receiver"
        raise OptionError(what, where=file.place([*place, "type"]), mend=mend)
    return file.validated(kinds[kind].settings, given, place, see=f"{kind} in {SEE}")


def make_receivers(
    receivers: Mapping[str, ReceiverSettings],
    *,
    clock: Clock,
    external_url: str,
    folder: Path,
    evaluation_seconds: float = 1.0,
    warn: Warn = unheard,
) -> dict[str, Receiver]:
    """Return every receiver by its name. Raises OptionError for a file that cannot be used any more."""
    around = Surroundings(
        clock=clock,
        external_url=external_url,
        folder=folder,
        evaluation_seconds=evaluation_seconds,
        warn=warn,
    )
    return {name: make_receiver(name, settings, around) for name, settings in receivers.items()}


def external_url(config: AgentConfig, *, tls: bool, port: int | None = None) -> str:
    """Return the URL under which links in alerts lead to the agent, without a slash at its end.

    Args:
        config: with ``external_url``, or without: then it is this machine's name and the port of ``listen``.
        tls: whether the agent serves TLS.
        port: the one that it listens on, where ``listen`` leaves it open.
    """
    if config.external_url is not None:
        return config.external_url
    _, listening = host_and_port(config.listen)
    return f"{'https' if tls else 'http'}://{platform.node()}:{port or listening}"
