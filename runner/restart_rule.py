"""Whether a command that ended is started again."""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flyball.collectors.journal import parse_line, rank_of
from flyball.runner.foreground import Ending, signal_name
from flyball.runner.signatures import is_peer_loss, is_signal

_TAIL_BYTES = 1 << 16
_FROM_A_USER = frozenset(map(int, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)))
_SHELL_BASE = 128
"""A shell says that a signal ended its command by this much more than its number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LastWords:
    """The exception that left a script."""

    rank: int
    type: str
    message: str
    where: str | None

    def is_like(self, other: "LastWords") -> bool:
        """Whether it is the same one; ports, sizes and addresses in it may differ."""
        return (self.type, self.where, _plain(self.message)) == (
            other.type,
            other.where,
            _plain(other.message),
        )

    @property
    def text(self) -> str:
        """In one line."""
        first = self.message.strip().splitlines()[:1]
        return f"rank {self.rank}: {self.type}" + (f": {first[0][:160]}" if first else "")


def _plain(message: str) -> str:
    return re.sub(r"0x[0-9a-f]+|\d+", "0", message)


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """How one start of a command failed."""

    ending: Ending
    hung: str | None = None
    """Why it was ended by us."""
    last_words: LastWords | None = None
    made_new_step: bool = True
    """Whether it got further than every start before it."""

    @property
    def text(self) -> str:
        """In one line."""
        if self.hung is not None:
            return self.hung
        return self.ending.text + (f" ({self.last_words.text})" if self.last_words else "")


def refusal(failures: Sequence[Failure], most_restarts: int) -> str | None:
    """Return why a command is not started again after its last failure; None where it is.

    Args:
        failures: of all starts so far, at least one.
        most_restarts: that the user allows.
    """
    last = failures[-1]
    asked = _asked_to_end(last)
    if asked is not None:
        return f"it was told to end ({asked})"
    if _is_deterministic(failures):
        assert last.last_words is not None
        return f"it fails the same way before any new step ({last.last_words.text})"
    if len(failures) > most_restarts:
        return f"{most_restarts} restarts were made, as many as --max-restarts allows"
    return None


def _asked_to_end(failure: Failure) -> str | None:
    if failure.hung is not None:
        return next((signal_name(each) for each in failure.ending.told if each in _FROM_A_USER), None)
    ending, words = failure.ending, failure.last_words
    ends = [*ending.told]
    if ending.signal is not None:
        ends.append(ending.signal)
    elif ending.exit_status is not None:
        ends.append(ending.exit_status - _SHELL_BASE)
    found = next((each for each in ends if each in _FROM_A_USER), None)
    if found is None and words is not None and is_signal(words.type):
        return words.type
    return None if found is None else signal_name(found)


def _is_deterministic(failures: Sequence[Failure]) -> bool:
    if len(failures) < 2 or failures[-1].made_new_step:
        return False
    before, last = failures[-2].last_words, failures[-1].last_words
    return before is not None and last is not None and last.is_like(before)


def read_last_words(folder: Path, *, since: float) -> LastWords | None:
    """Return the first exception that left a rank, one that only says that a peer went away left out.

    Args:
        folder: of the run.
        since: seconds since the epoch; what was written before is of another start.
    """
    found: list[tuple[float, LastWords]] = []
    for path in folder.glob("rank-*.jsonl"):
        rank = rank_of(path.name)
        for line in _last_lines(path):
            record = parse_line(line)
            if rank is None or record is None or record["kind"] != "exception" or record["time"] < since:
                continue
            message, where = str(record.get("message", "")), record.get("where")
            if not is_peer_loss(message):
                words = LastWords(rank=rank, type=str(record.get("type")), message=message, where=where)
                found.append((record["time"], words))
    return min(found, key=lambda each: each[0])[1] if found else None


def _last_lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        file.seek(max(file.seek(0, 2) - _TAIL_BYTES, 0))
        return file.read().splitlines()
