"""A real agent process, for as long as a test needs it."""

import contextlib
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from tests.patience import PATIENCE_SECONDS

SCRIPT = Path(__file__).parent / "scripts" / "agent_with_fakes.py"
FAKES = (sys.executable, str(SCRIPT))


class Running:
    """One agent.

    Args:
        folder: of its configuration, its state and its runs.
        text: more of its configuration.
        program: what stands in front of ``agent``; by default one with collectors of its own.
        environment: more of it.
    """

    def __init__(
        self, folder: Path, text: str = "", program: Sequence[str] = FAKES, **environment: str
    ) -> None:
        self.config = folder / "flyball.yaml"
        self.write(text)
        self.process = subprocess.Popen(
            [*program, "agent", "--config", str(self.config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        self.lines: list[str] = []
        self._new: queue.Queue[str] = queue.Queue()
        streams = (self.process.stdout, self.process.stderr)
        self.readers = [threading.Thread(target=self._read, args=(one,), daemon=True) for one in streams]
        for reader in self.readers:
            reader.start()

    def write(self, text: str) -> None:
        head = "listen: 127.0.0.1:0\nstate_folder: state\nrun_folders: [runs]\n"
        self.config.write_text(head + text, "utf-8")

    def _read(self, stream: TextIO) -> None:
        with stream:
            for line in stream:
                self._new.put(line)

    def line(self, pattern: str) -> re.Match[str]:
        """The next line that matches; those before it are passed over."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = re.search(pattern, self._next(pattern, deadline))
            if found:
                return found

    def until(self, pattern: str, times: int) -> None:
        """Wait until so many lines, also those passed over before, have matched."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sum(bool(re.search(pattern, line)) for line in self.lines) < times:
            self._next(pattern, deadline)

    def _next(self, pattern: str, deadline: float) -> str:
        try:
            line = self._new.get(timeout=max(0.01, deadline - time.monotonic()))
        except queue.Empty:
            raise AssertionError(f"no line like {pattern!r} in {self.lines}") from None
        self.lines.append(line)
        return line

    def url(self) -> str:
        return self.line(r"flyball agent: (https?://\S+)")[1]

    def end(self) -> int:
        """Ask it to stop; its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)


@contextlib.contextmanager
def running(
    folder: Path, text: str = "", program: Sequence[str] = FAKES, **environment: str
) -> Iterator[Running]:
    """An agent for as long as a test needs it."""
    agent = Running(folder, text, program, **environment)
    try:
        yield agent
    finally:
        if agent.process.poll() is None:
            agent.process.kill()
        agent.process.wait()
        for reader in agent.readers:
            reader.join()
