"""How a run was started, as its journal's header says: what it takes to start it so again."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

MOST_TOKENS = 512
MOST_CHARACTERS = 32 << 10
MOST_CONFIG_CHARACTERS = 64 << 10
_LONGEST_PATH = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Of the process of rank 0. Secrets in the commands are masked with ``***``."""

    command: tuple[str, ...]
    """As the rank's process was started, its interpreter first."""
    launcher: tuple[str, ...] = ()
    """What started the ranks: the user's own command where it is known; empty where there was none."""
    working_directory: str = ""
    config: Mapping[str, Any] | None = None
    """The effective DeepSpeed config; None where it is too large to keep."""

    @property
    def starts(self) -> tuple[str, ...]:
        """The command that starts the whole run."""
        return self.launcher or self.command

    def document(self) -> dict[str, Any]:
        """As JSON, for a restart of the agent."""
        return asdict(self)


def read_origin(record: Mapping[str, Any]) -> Origin | None:
    """The origin that a header, or :meth:`Origin.document`, tells; None where it tells none that can be used.

    A wrong one is no reason to refuse the header: the run is watched all the same.
    """
    command, launcher = _tokens(record.get("command")), _tokens(record.get("launcher"))
    folder, config = record.get("working_directory"), record.get("config")
    if not (command or launcher):
        return None
    return Origin(
        command=command,
        launcher=launcher,
        working_directory=folder if _is_text(folder) and len(folder) <= _LONGEST_PATH else "",
        config=config if isinstance(config, dict) and _is_small(config) else None,
    )


def _tokens(value: Any) -> tuple[str, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MOST_TOKENS:
        return ()
    if not all(map(_is_text, value)) or sum(map(len, value)) > MOST_CHARACTERS:
        return ()
    return tuple(value)


def _is_text(value: Any) -> TypeGuard[str]:
    if type(value) is not str or "\0" in value:
        return False
    # A lone surrogate stands for a byte that is no UTF-8; no database and no answer takes it.
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_small(config: Mapping[str, Any]) -> bool:
    try:
        return len(json.dumps(config)) <= MOST_CONFIG_CHARACTERS
    except RecursionError:  # what was read at the edge of the stack need not be written there
        return False
