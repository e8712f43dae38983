"""Writes what a trial prints to files that cannot grow without end: the head and the tail are kept."""

import os
import selectors
import threading
from pathlib import Path

_CHUNK = 1 << 16


class BoundedFile:
    """Keeps the first ``head`` and the last ``tail`` bytes of a stream.

    While it is written the tail is a ring after the head in the same file, so nothing is held in memory and
    what was printed last is on disk even if we are killed; ``close`` puts the ring in order.
    """

    def __init__(self, path: Path, *, head: int = 1 << 20, tail: int = 1 << 20) -> None:
        self.name = path.name
        self._file = path.open("w+b", buffering=0)
        self._head, self._tail = head, tail
        self._written = 0

    def write(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        room = max(self._head - self._written, 0)
        if room:
            self._file.write(data[:room])
            self._written += len(data[:room])
        rest = data[room:]
        if len(rest) > self._tail:
            self._written += len(rest) - self._tail
            rest = rest[-self._tail :]
        while rest:
            offset = (self._written - self._head) % self._tail
            part = rest[: self._tail - offset]
            self._file.seek(self._head + offset)
            self._file.write(part)
            self._written += len(part)
            rest = rest[len(part) :]

    def close(self) -> None:
        """Put the tail in order, with a line that says how much was left out."""
        beyond = self._written - self._head
        with self._file:
            if beyond > self._tail:
                self._file.seek(self._head)
                ring = self._file.read(self._tail)
                start = beyond % self._tail
                self._file.seek(self._head)
                notice = f"\n[flyball left out {beyond - self._tail} bytes here]\n".encode()
                self._file.write(notice + ring[start:] + ring[:start])


class LogPump:
    """Two pipes whose ends a trial writes to, and the thread that empties them into bounded files."""

    def __init__(self, stdout: Path, stderr: Path) -> None:
        self._selector = selectors.DefaultSelector()
        self._lost: dict[str, str] = {}
        self.write_ends: tuple[int, int] = (self._add(stdout), self._add(stderr))
        self._thread = threading.Thread(target=self._run, name="trial-output", daemon=True)
        self._thread.start()

    def _add(self, path: Path) -> int:
        read, write = os.pipe()
        self._selector.register(read, selectors.EVENT_READ, BoundedFile(path))
        return write

    def release(self) -> None:
        """Close our copies of the write ends, once the trial has its own."""
        for descriptor in self.write_ends:
            os.close(descriptor)

    def _run(self) -> None:
        while self._selector.get_map():
            for key, _ in self._selector.select():
                data = os.read(key.fd, _CHUNK)
                self._keep(key.data, data)
                if not data:
                    self._selector.unregister(key.fd)
                    os.close(key.fd)

    def _keep(self, file: BoundedFile, data: bytes) -> None:
        """Write what came, or close the file at the end; a full disk must not block who prints."""
        try:
            if not data:
                file.close()
            elif file.name not in self._lost:
                file.write(data)
        except OSError as error:
            self._lost.setdefault(file.name, f"{file.name} is incomplete: {error.strerror or error}")

    def finish(self, timeout_seconds: float = 5.0) -> list[str]:
        """Wait until everything printed is on disk; the trial's processes must have ended.

        Returns one line for each file that could not be written to its end.
        """
        self._thread.join(timeout_seconds)
        return list(self._lost.values())
