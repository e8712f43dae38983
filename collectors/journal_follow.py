"""Follows one journal while it is written, rotated, truncated or replaced; memory is bounded.

No line is kept between calls: the offset stands at the begin of the first line that was not yet taken in.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flyball.collectors.journal import Record, parse_line
from flyball.collectors.journal_file import open_journal

CHUNK_BYTES = 1 << 20
"""The most that is held at once, and what a line may be long."""
READ_BYTES = 4 << 20
"""The most that one call takes in."""
_FINGERPRINT_BYTES = 256

Take = Callable[[Record], bool]
"""Takes one record in; False says that its fields are of a wrong kind, and the line counts as torn."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """How far a file was read."""

    device: int
    inode: int
    offset: int
    """Bytes; of the first line that was not taken in."""
    fingerprint: str
    """Of the file's first bytes, at most as many as were read: an inode's number is given again."""
    skipping: bool = False
    """Whether the offset stands inside a line that is too long."""

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class JournalFollower:
    """Reads a file's lines once each.

    Args:
        folder: descriptor of the folder that it stands in; stays the caller's.
        name: its name there.
        same_owner: whether it must belong to whom the folder belongs to.
        position: where an earlier follower stopped; None to begin at the file's begin.
    """

    def __init__(
        self, folder: int, name: str, *, same_owner: bool = False, position: Position | None = None
    ) -> None:
        self.folder, self.name, self.same_owner = folder, name, same_owner
        self.torn_lines = self.restarts = 0
        """Lines that were skipped; times that the file was truncated or replaced before it was read out."""
        self.modified = 0.0
        """When the file that is read now was last written, seconds since the epoch."""
        self.caught_up = False
        """Whether the end of the newest file was reached, once."""
        self._file = -1
        self._identity = (0, 0)
        self._offset = self._seen_bytes = 0
        self._skipping = False
        self._fingerprint = ""
        self._fingerprint_bytes = 0
        self._resume = position

    def read(self, take: Take, limit_bytes: int = READ_BYTES) -> int:
        """Hand the lines that have come to ``take``; return how many bytes were read.

        Raises:
            JournalRefused: the file under this name is none that may be read.
        """
        if self._file < 0 and not self._open_first():
            return 0
        taken = self._take_in(take, limit_bytes)
        while taken < limit_bytes and self._at_end() and self._next_file():
            taken += self._take_in(take, limit_bytes - taken)
        return taken

    def position(self) -> Position | None:
        """Where it stands; None before the first file was opened."""
        if self._file < 0:
            return self._resume
        return Position(
            device=self._identity[0],
            inode=self._identity[1],
            offset=self._offset,
            fingerprint=f"{self._fingerprint_bytes}:{self._fingerprint}",
            skipping=self._skipping,
        )

    def close(self) -> None:
        """Give the descriptor back; a later ``read`` goes on from there."""
        if self._file >= 0:
            self._resume = self.position()
            os.close(self._file)
        self._file = -1

    def _open_first(self) -> bool:
        if self._resume is not None and self._open_resumed(self._resume):
            return True
        try:
            descriptor, found = open_journal(self.folder, self.name, same_owner=self.same_owner)
        except FileNotFoundError:
            return False
        self.restarts += self._resume is not None
        self._begin(descriptor, found)
        return True

    def _open_resumed(self, resume: Position) -> bool:
        # While nobody held it, the file may have been rotated.
        for name in (self.name, f"{self.name}.1"):
            try:
                descriptor, found = open_journal(self.folder, name, same_owner=self.same_owner)
            except FileNotFoundError:
                continue
            if _is_same(descriptor, found, resume):
                self._begin(descriptor, found)
                self._offset, self._skipping = resume.offset, resume.skipping
                self._mark()
                return True
            os.close(descriptor)
        return False

    def _begin(self, descriptor: int, found: os.stat_result) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file, self._identity = descriptor, (found.st_dev, found.st_ino)
        self._start_anew()

    def _start_anew(self) -> None:
        self._offset = self._seen_bytes = self._fingerprint_bytes = 0
        self._skipping, self._fingerprint = False, ""

    def _take_in(self, take: Take, limit_bytes: int) -> int:
        found = os.fstat(self._file)
        if found.st_size == self._seen_bytes and found.st_mtime == self.modified:
            return 0
        self.modified = found.st_mtime
        self._mend_offset(found.st_size)
        taken = 0
        while taken < limit_bytes:
            # No more room than is needed: a whole chunk's is given back to the system each time.
            room = min(CHUNK_BYTES, max(found.st_size - self._offset, 0) + 1)
            chunk = os.pread(self._file, room, self._offset)
            self._seen_bytes = self._offset + len(chunk)
            used = self._lines(chunk, take)
            self._offset += used
            taken += used
            if len(chunk) < CHUNK_BYTES:
                break
        if self._fingerprint_bytes < _FINGERPRINT_BYTES:
            self._mark()
        return taken

    def _mend_offset(self, size_bytes: int) -> None:
        """Start anew in a file with another content; go on at the end of one that was cut."""
        if size_bytes < self._fingerprint_bytes or not self._is_still_the_same():
            self.restarts += 1
            self._start_anew()
        elif size_bytes < self._offset:
            self.restarts += 1
            self._offset, self._skipping = size_bytes, False
            if not size_bytes:
                self._start_anew()

    def _lines(self, chunk: bytes, take: Take) -> int:
        """Take in the whole lines of a chunk; return how many bytes are done with."""
        end = chunk.rfind(b"\n") + 1
        if not end:
            return self._pass_over(chunk)
        lines = chunk[: end - 1].split(b"\n")
        if self._skipping:
            self._skipping = False
            del lines[0]
        for line in lines:
            record = parse_line(line)
            if record is None or not take(record):
                self.torn_lines += 1
        return end

    def _pass_over(self, chunk: bytes) -> int:
        if len(chunk) < CHUNK_BYTES and not self._skipping:
            return 0
        if not self._skipping:
            self.torn_lines += 1
            self._skipping = True
        return len(chunk)

    def _at_end(self) -> bool:
        return os.fstat(self._file).st_size == self._seen_bytes

    def _next_file(self) -> bool:
        """Go over to the file that has the name now, if it is another; the old one was read to its end."""
        try:
            named = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            self.caught_up = True
            return False
        if (named.st_dev, named.st_ino) == self._identity:
            self.caught_up = True
            return False
        try:
            descriptor, found = open_journal(self.folder, self.name, same_owner=self.same_owner)
        except FileNotFoundError:
            return False
        if not self._at_end():
            # Something was appended while the new file was opened.
            os.close(descriptor)
            return False
        self.torn_lines += self._seen_bytes > self._offset
        self._begin(descriptor, found)
        return True

    def _mark(self) -> None:
        self._fingerprint_bytes = min(self._offset, _FINGERPRINT_BYTES)
        self._fingerprint = _fingerprint(self._file, self._fingerprint_bytes)

    def _is_still_the_same(self) -> bool:
        return _fingerprint(self._file, self._fingerprint_bytes) == self._fingerprint


def _fingerprint(descriptor: int, size_bytes: int) -> str:
    if not size_bytes:
        return ""
    return hashlib.blake2b(os.pread(descriptor, size_bytes, 0), digest_size=8).hexdigest()


def _is_same(descriptor: int, found: os.stat_result, position: Position) -> bool:
    size, _, digest = position.fingerprint.partition(":")
    return (
        (found.st_dev, found.st_ino) == (position.device, position.inode)
        and found.st_size >= position.offset
        and size.isdigit()
        and int(size) <= _FINGERPRINT_BYTES
        and _fingerprint(descriptor, int(size)) == digest
    )


def read_position(document: object) -> Position | None:
    """The position that :meth:`Position.document` wrote; None for anything else."""
    if not isinstance(document, dict):
        return None
    kinds = {"device": int, "inode": int, "offset": int, "fingerprint": str, "skipping": bool}
    if not all(isinstance(document.get(name), kind) for name, kind in kinds.items()):
        return None
    if document["offset"] < 0:
        return None
    return Position(**{name: document[name] for name in kinds})
