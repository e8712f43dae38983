"""Where a source waits while it hangs."""

import threading


class Gate:
    """Open when it is made."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        """Somebody waits, or has waited."""
        self._open = threading.Event()
        self._open.set()

    def go_through(self) -> None:
        """Wait while it is shut."""
        if not self._open.is_set():
            self.entered.set()
            self._open.wait()

    def shut(self) -> None:
        """Let the next one wait."""
        self._open.clear()

    def open(self) -> None:
        """Let everybody go on."""
        self._open.set()
