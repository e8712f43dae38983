"""The terminal under a live view: its keys and the signals that concern it, as things to wait for."""

import os
import re
import select
import signal
import socket
import termios
import tty
from contextlib import suppress
from enum import Enum, auto
from types import FrameType, TracebackType
from typing import Any, Final, Self

_LEAVING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_QUIT_KEYS: Final = (b"q", b"Q", b"\x03", b"\x04")
_OTHER_KEYS: Final = re.compile(rb"\x1b[\[O][0-?]*[ -/]*[@-~]")
"""What arrows and the like send (ECMA-48 control sequences)."""
_ANSWERED: Final = b"\0"


class Happening(Enum):
    """What ended a wait."""

    NOTHING = auto()
    """The time is up."""
    ANSWERED = auto()
    RESIZED = auto()
    SUSPENDED = auto()
    QUIT = auto()


class Terminal:
    """Takes keys one by one and signals as bytes while it is entered; afterwards all is as it was.

    Args:
        keys: descriptor of the terminal that is typed on; None where nobody can type.
    """

    def __init__(self, keys: int | None) -> None:
        self._keys = keys
        self._before: list[Any] | None = None
        self._heard, self._told = socket.socketpair()
        for end in (self._heard, self._told):
            end.setblocking(False)
        self._handlers: dict[signal.Signals, Any] = {}
        self._wakeup = -1

    def __enter__(self) -> Self:
        self._wakeup = signal.set_wakeup_fd(self._told.fileno(), warn_on_full_buffer=False)
        for number in (*_LEAVING, signal.SIGWINCH, signal.SIGTSTP):
            self._handlers[number] = signal.signal(number, _left_to_the_wait)
        self.take_keys()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_keys_back()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)

    def take_keys(self) -> None:
        """Get each key as it is typed, and show none."""
        if self._keys is not None:
            with suppress(termios.error):  # hung up meanwhile
                self._before = termios.tcgetattr(self._keys)
                tty.setcbreak(self._keys)

    def give_keys_back(self) -> None:
        """Undo ``take_keys``."""
        if self._keys is not None and self._before is not None:
            with suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    def answered(self) -> None:
        """End a wait from another thread."""
        with suppress(OSError):
            self._told.send(_ANSWERED)

    def suspend(self) -> None:
        """Stop as Ctrl-Z does; returns when the shell lets the program go on."""
        os.kill(os.getpid(), signal.SIGSTOP)

    def wait(self, seconds: float) -> Happening:
        """Wait for what comes first, at most ``seconds``."""
        sources = [self._heard.fileno(), *([self._keys] if self._keys is not None else [])]
        ready, _, _ = select.select(sources, [], [], max(0.0, seconds))
        if self._keys in ready and self._left():
            return Happening.QUIT
        if self._heard.fileno() in ready:
            return _meaning(self._heard.recv(4096))
        return Happening.NOTHING

    def _left(self) -> bool:
        assert self._keys is not None
        try:
            typed = os.read(self._keys, 64)
        except OSError:
            return True
        # What was typed in a hurry, or pasted, comes as one.
        return not typed or any(key in _OTHER_KEYS.sub(b"", typed) for key in _QUIT_KEYS)


def _meaning(told: bytes) -> Happening:
    if any(number in told for number in _LEAVING):
        return Happening.QUIT
    if signal.SIGTSTP in told:
        return Happening.SUSPENDED
    return Happening.RESIZED if signal.SIGWINCH in told else Happening.ANSWERED


def _left_to_the_wait(number: int, frame: FrameType | None) -> None:
    """The byte that Python writes to the wakeup descriptor says it all."""
    del number, frame
