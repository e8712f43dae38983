"""Every error that flyball raises on purpose.

FlyballError                     exit 1
├── BadInput                     exit 2   the user can mend it; nothing was launched
│   ├── ConfigError                       a DeepSpeed config
│   ├── SpaceError                        a space file
│   ├── CommandError                      the command to tune
│   ├── OptionError                       an option of our own command line
│   ├── PolicyError                       policy files, with all their faults
│   └── DatabaseError                     a history database that cannot be used
├── BaselineFailed               exit 5   the user's own command does not train
├── StorageFailed                exit 6   disk or database gave out in the middle; the study is resumable
└── Interrupted                  exit 130 stopped by the user; the study is resumable
"""

from collections.abc import Sequence
from typing import ClassVar


class FlyballError(Exception):
    """Root of the tree: one line that says where, what, and what to do instead.

    Args:
        what: the fault, in plain words.
        where: the place (``file:line``, a key path, an option), or None.
        mend: what to write or do instead, or None.
    """

    exit_status: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        self.what, self.where, self.mend = what, where, mend
        super().__init__(what)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        cure = f"; {self.mend}" if self.mend else ""
        return " ".join(f"{place}{self.what}{cure}".split())


class BadInput(FlyballError):
    """What the user gave cannot be used; nothing was launched."""

    exit_status = 2


class ConfigError(BadInput):
    """A DeepSpeed config is missing, malformed or contradicts itself."""


class SpaceError(BadInput):
    """A space file is malformed or names a knob that does not exist."""


class CommandError(BadInput):
    """The command to tune does not exist or has no place for a config."""


class OptionError(BadInput):
    """An option of flyball's own command line is out of range or contradicts another."""


class PolicyError(BadInput):
    """Policy files cannot be used.

    Args:
        faults: all of them, each with place, what and mend; the text has one a line.
    """

    def __init__(self, faults: Sequence[FlyballError]) -> None:
        self.faults = tuple(faults)
        super().__init__(f"{len(self.faults)} faults in policy files")

    def __str__(self) -> str:
        return "\n".join(map(str, self.faults))


class DatabaseError(BadInput):
    """The history database cannot be used: locked, read-only, newer than the code, on a network disk."""


class BaselineFailed(FlyballError):
    """The user's own command, with the user's own config, does not complete a measurement."""

    exit_status = 5


class StorageFailed(FlyballError):
    """The disk or the database gave out in the middle of a study; the study can be resumed."""

    exit_status = 6


class Interrupted(FlyballError):
    """Stopped by a signal; the study can be resumed."""

    exit_status = 130
