"""Signals as requests: the first asks to finish the running trial and report, the second to stop now."""

import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Final, Self

FINISH_TEXT: Final = "finishing the running trial, then reporting; again to stop now"
STOP_TEXT: Final = "stopping now; go on later with --resume"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_RESEND_SECONDS = 0.1
_Handler = Callable[[int, FrameType | None], object] | int | None


class Interruption:
    """Listens for SIGINT, SIGTERM and SIGHUP while it is entered as a context, in the main thread.

    States: running -> finish_requested (first signal) -> stop_now (second) -> KeyboardInterrupt in the main
    thread (third, for when something is stuck). A hang-up only ever asks to finish: shell and kernel both
    send one when a terminal closes. Signals that were ignored when flyball started (``nohup``) stay ignored.

    The interpreter's C handler writes each signal to a socket that a thread reads. So nothing waits for the
    main thread, which may be blocked, and nothing is printed or killed from within a handler, which may have
    interrupted the very lock that it would need.
    """

    def __init__(self, say: Callable[[str], None] = lambda text: None) -> None:
        self._say = say
        self._finish = self._stop = False
        # The third signal: asked for, and seen by the main thread.
        self._abandon = self._abandoned = False
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next_key = 0
        self._lock = threading.Lock()
        self._previous: dict[int, _Handler] = {}

    @property
    def finish_requested(self) -> bool:
        """Whether no further trial should start."""
        return self._finish

    @property
    def stop_now(self) -> bool:
        """Whether the running trial should be ended too."""
        return self._stop

    def on_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have ``callback`` (for example a handle's kill) called once when a stop is asked for.

        It runs in the listening thread; at once, in the caller's, when the stop was asked for before.
        Returns the function that takes the registration back.
        """
        with self._lock:
            key, self._next_key = self._next_key, self._next_key + 1
            if not self._stop:
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def _forget(self, key: int) -> None:
        with self._lock:
            self._callbacks.pop(key, None)

    def request(self, source: str) -> None:
        """Do what one more signal does; ``source`` names it in the line that the user gets."""
        with self._lock:
            self._stop, self._finish = self._finish, True
            callbacks = list(self._callbacks.values()) if self._stop else []
            if self._stop:
                self._callbacks.clear()
        self._tell(f"{source}: {STOP_TEXT if self._stop else FINISH_TEXT}")
        for callback in callbacks:
            try:
                callback()
            except Exception as error:  # one that fails must not keep the others from being called
                self._tell(f"while stopping: {error}")

    def _tell(self, text: str) -> None:
        # A terminal that hung up must not keep the trial's processes alive.
        with suppress(OSError, ValueError):
            self._say(text)

    def __enter__(self) -> Self:
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._listen, name="flyball-signals", daemon=True)
        self._thread.start()
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._abandoned = True
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
        signal.set_wakeup_fd(self._previous_fd)
        self._writer.close()
        self._thread.join()
        self._reader.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._abandon and not self._abandoned:
            self._abandoned = True
            raise KeyboardInterrupt

    def _listen(self) -> None:
        while numbers := self._reader.recv(1):
            number = numbers[0]
            if number not in self._previous or (number == signal.SIGHUP and self._finish):
                continue
            if self._stop:
                self._leave_at_once(number)
            else:
                self.request(signal.Signals(number).name)

    def _leave_at_once(self, number: int) -> None:
        self._abandon = True
        # A signal that arrives just before the main thread blocks is noticed only when it wakes: send again.
        while not self._abandoned:
            signal.pthread_kill(threading.main_thread().ident or 0, number)
            time.sleep(_RESEND_SECONDS)
