"""A text stream that can break without breaking the study that writes to it."""

from contextlib import suppress
from typing import TextIO


class QuietStream:
    """Passes everything on to ``stream``; a closed terminal or pipe swallows it.

    After a hang-up every write fails: the study must go on, finish its trial and report to its folder.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; returns the length given, whatever became of it."""
        with suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        with suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether the stream is a terminal."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """The stream's file descriptor, by which the terminal's size is asked."""
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        """The stream's encoding."""
        return self._stream.encoding
