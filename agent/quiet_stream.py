"""A text stream that can break without breaking the study that writes to it."""

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TextIO

_GONE: Final = (errno.EIO, errno.EPIPE)
"""How a terminal that hung up and a pipe that nobody reads answer: for good."""


class QuietStream:
    """Passes everything on to ``stream``; a closed terminal or pipe swallows it.

    After a hang-up every write fails: the study must go on, finish its trial and report to its folder.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written; returns the length given, whatever became of it."""
        self._safely(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush what can be flushed."""
        self._safely(self._stream.flush)

    def _safely(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            if error.errno in _GONE:
                self._let_go()
        except ValueError:  # it is closed
            return

    def _let_go(self) -> None:
        # What is still buffered would fail once more at the interpreter's end, which makes that its status.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
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
