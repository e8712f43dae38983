"""Appends records to one rank's journal. The schema stands in ``docs/journal.md``."""

from __future__ import annotations

import json
import os
import time
from typing import Any

FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def number(value: float | None) -> str:
    """A float as the journal writes it; a value that is not finite is kept, since it is the news."""
    if value is None:
        return "null"
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return repr(value)


def encode(kind: str, fields: dict[str, Any]) -> bytes:
    """One record as a line; for the rare kinds (steps are formatted by hand)."""
    record = {"kind": kind, "time": time.time(), "clock": time.monotonic(), **fields}
    return json.dumps(record, default=str, separators=(",", ":")).encode() + b"\n"


class Journal:
    """One rank's file, opened by the first record of the process that owns it.

    A line is one ``write`` in append mode, so that a kill loses at most the line being written and processes
    that share a rank do not mix their lines. A forked child (a DataLoader worker) stays silent. A disk that
    is full, or gone, switches the journal off for good.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.broken = False
        self._descriptor = -1
        self._pid = 0

    @property
    def is_open(self) -> bool:
        """Whether this process has opened it."""
        return self._pid == os.getpid()

    def open(self, rank: int) -> None:
        """Open ``rank-<rank>.jsonl``; a second call changes nothing."""
        if self._pid or self.broken:
            return
        try:
            os.makedirs(self.directory, mode=0o750, exist_ok=True)
            path = os.path.join(self.directory, f"rank-{rank}.jsonl")
            self._descriptor = os.open(path, FLAGS, 0o640)
            # Whatever the umask: the agent's group must be able to read it.
            os.fchmod(self._descriptor, 0o640)
            self._pid = os.getpid()
            self._mend_torn_line(path)
        except OSError:
            self.broken = True

    def _mend_torn_line(self, path: str) -> None:
        # A predecessor killed in the middle of a line must not swallow our first one.
        with open(path, "rb") as file:
            if file.seek(0, os.SEEK_END) and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n":
                os.write(self._descriptor, b"\n")

    def write(self, line: bytes) -> None:
        """Append one line; silent in any process but the one that opened the file."""
        if self.broken or self._pid != os.getpid():
            return
        try:
            written = os.write(self._descriptor, line)
        except OSError:
            self.broken = True
            return
        # A short write means a full disk: the torn line is skipped by the reader, the next would fail.
        self.broken = written != len(line)

    def record(self, kind: str, **fields: Any) -> None:
        """Append one of the rare records."""
        self.write(encode(kind, fields))

    def close(self) -> None:
        """Give the descriptor back, in the process that opened it."""
        if self._descriptor >= 0 and self.is_open:
            os.close(self._descriptor)
        self._descriptor, self._pid = -1, 0


def append_once(directory: str, rank: int, kind: str, **fields: Any) -> None:
    """Append one record from a process that has no journal open (before an engine, or a forked child)."""
    journal = Journal(directory)
    journal.open(rank)
    journal.record(kind, **fields)
    journal.close()
