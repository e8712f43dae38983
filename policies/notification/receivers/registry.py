"""Which kinds of receivers there are, and how one is made of its settings."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flyball.clock import Clock
from flyball.policies.notification.base import Receiver
from flyball.policies.notification.receivers.resolving import Resolve, resolve
from flyball.policies.notification.receivers.secret_files import Check, SecretFile, Warn, unheard
from flyball.policies.notification.receivers.settings import ReceiverSettings

OWN = ("webhook", "alertmanager", "apprise")
"""Modules of this folder, each with a ``TYPE``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Surroundings:
    """What a receiver may use besides its settings."""

    clock: Clock
    external_url: str
    """Of the agent, without a slash at its end: where a link in an alert leads."""
    folder: Path = field(default_factory=Path)
    """Where relative paths of the settings start."""
    evaluation_seconds: float = 1.0
    """From one evaluation of the rules to the next."""
    resolve: Resolve = resolve
    """Looks up the addresses of a name."""
    warn: Warn = unheard
    """Says what needs attention; in the event loop, or where the receiver is made."""

    def where(self, name: str, *keys: str) -> str:
        """Return the key path of a setting of the receiver ``name``."""
        return ".".join(("receivers", name, *keys))

    def secret(self, path: Path, check: Check, name: str, *keys: str) -> SecretFile:
        """Return the secret in ``path``, which the setting ``keys`` of the receiver ``name`` names.

        Raises:
            OptionError: it cannot be read now or is not what it should be.
        """
        where = self.where(name, *keys)
        return SecretFile(path=self.folder / path, where=where, check=check, warn=self.warn).checked()


@dataclass(frozen=True, kw_only=True, slots=True)
class ReceiverType:
    """One kind of receiver: what a file in this folder registers."""

    name: str
    """As ``type`` of the settings says it."""
    help: str
    settings: type[ReceiverSettings]
    make: Callable[[str, Any, Surroundings], Receiver]
    """Takes the receiver's name, an instance of ``settings`` and the surroundings; reads the files of secrets
    and connects to nothing. Raises OptionError for a file that cannot be used."""


def receiver_types() -> dict[str, ReceiverType]:
    """Return all kinds by name."""
    modules = (importlib.import_module(f"flyball.policies.notification.receivers.{name}") for name in OWN)
    return {module.TYPE.name: module.TYPE for module in modules}


def make_receiver(name: str, settings: ReceiverSettings, surroundings: Surroundings) -> Receiver:
    """Return the receiver that ``settings`` describe.

    Raises:
        OptionError: a file that the settings name cannot be used, with the key path and the mend.
    """
    return receiver_types()[settings.type].make(name, settings, surroundings)
