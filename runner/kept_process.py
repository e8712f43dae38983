"""The owner's side of a reaper: one process tree that cannot outlive us."""

import json
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import flyball
from flyball.errors import FlyballError
from flyball.runner.process_tree import MARKER, Process, descendants, end_all, is_orphaned, marked

_BOOT = """import sys
sys.path.insert(0, sys.argv[2])
from flyball.runner.reaper import main
main(int(sys.argv[1]))"""
_ANSWER_SECONDS = 60.0


class LaunchError(FlyballError):
    """The command could not be started at all."""


class KeptProcess:
    """A command below a reaper of its own."""

    def __init__(self, stdout: int, stderr: int, pass_fds: Sequence[int] = ()) -> None:
        """Start the reaper; the descriptors become the command's and may be closed by the caller."""
        self._control, theirs = socket.socketpair()
        root = str(Path(flyball.__file__).parent.parent)
        self._pass_fds = list(pass_fds)
        with theirs:
            self._reaper = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _BOOT, str(theirs.fileno()), root],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd="/",
                pass_fds=(theirs.fileno(), *pass_fds),
                start_new_session=True,
            )
        self._pending = b""
        self._events: list[dict[str, Any]] = []
        self._marker = ""
        self.pid = 0
        self.status: int | None = None
        self.lost = False

    def spawn(self, argv: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
        """Start the command.

        Raises:
            LaunchError: it cannot be executed.
        """
        self._marker = environment.get(MARKER, "")
        self._send(op="spawn", argv=list(argv), env=dict(environment), cwd=str(cwd), pass_fds=self._pass_fds)
        event = self._await("spawned", "failed")
        if event is None or event["event"] == "failed":
            error = event["error"] if event else "the reaper ended"
            self.close()
            raise LaunchError(f"cannot start {argv[0]}: {error}", where="command")
        self.pid = event["pid"]

    def poll(self) -> int | None:
        """The command's exit status (minus the signal that killed it), or None while it runs."""
        self._receive(0.0)
        return self.status

    def tree(self, *, keep_root: bool = False) -> list[Process]:
        """The living processes of the command."""
        return descendants(self._reaper.pid, keep=[self.pid] if keep_root else [])

    def register(self, environment: Mapping[str, str]) -> None:
        """Tell the reaper what a worker's environment says about the shared memory it makes."""
        names = ("MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE", "TORCH_EXTENSIONS_DIR", "HOME")
        self._send(
            op="register", environment={name: environment[name] for name in names if name in environment}
        )

    def end(self, *, grace_seconds: float, keep_root: bool = False) -> None:
        """End the tree; with ``keep_root`` everything but the command's own first process."""
        if not self.lost:
            self._send(op="end", grace_seconds=grace_seconds, keep_root=keep_root)
            self._await("ended")
        if self.lost and self._marker:
            end_all(lambda: marked(lambda value: value == self._marker), grace_seconds=0.0)

    def close(self) -> None:
        """End the tree and the reaper."""
        self._control.close()
        self._reaper.wait()

    def _send(self, **message: Any) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.lost = True

    def _await(self, *names: str) -> dict[str, Any] | None:
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not self.lost and time.monotonic() < deadline:
            for event in self._events:
                if event["event"] in names:
                    self._events.remove(event)
                    return event
            self._receive(deadline - time.monotonic())
        return None

    def _receive(self, timeout_seconds: float) -> None:
        while not self.lost and select.select([self._control], [], [], max(timeout_seconds, 0.0))[0]:
            try:
                data = self._control.recv(1 << 16)
            except OSError:
                data = b""
            self.lost = self.lost or not data
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                self._note(json.loads(line))
            timeout_seconds = 0.0
        if self.lost and self.status is None:
            self.status = -9

    def _note(self, event: dict[str, Any]) -> None:
        if event["event"] == "exit":
            self.status = event["status"]
        else:
            self._events.append(event)


def clear_orphans() -> list[int]:
    """End what older trials left whose owner and reaper were both killed; return the pids."""
    return end_all(lambda: marked(is_orphaned), grace_seconds=0.0)
