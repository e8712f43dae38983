"""The owner's side of a fork server: start it, have it forked, hear how its ranks end."""

import os
import select
import socket
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flyball.runner import fork_server
from flyball.runner.kept_process import KeptProcess
from flyball.runner.learned import UnforkableError
from flyball.runner.process_tree import Process

_GONE_STATUS = -9
_FORK_SECONDS = 60.0


class ForkServerClient:
    """One fork server below a reaper of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        *,
        modules: Sequence[str],
        paths: Sequence[str],
    ) -> None:
        """Start the server and have it import; ``argv`` is the interpreter with its options."""
        self._scratch = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        self._printed = self._scratch.fileno()
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._kept = KeptProcess(self._printed, self._printed, [theirs.fileno()])
            script = str(Path(fork_server.__file__).absolute())
            self._kept.spawn([*argv, script, str(theirs.fileno())], environment, cwd)
        self._ready = False
        self._pids: list[int] = []
        self._statuses: dict[int, int] = {}
        self._lost = False
        self.failed_imports: dict[str, str] = {}
        self._send({"op": "prepare", "modules": list(modules), "paths": list(paths)})

    def wait_ready(self, timeout_seconds: float) -> None:
        """Wait until the imports are done.

        Raises:
            UnforkableError: they left a process that must not be forked, or none at all.
        """
        if self._ready:
            return
        answer = self._await("ready", timeout_seconds)
        if answer is None:
            raise UnforkableError(f"the fork server did not come up: {self._last_words()}")
        self.failed_imports = answer["failed"]
        if answer["reasons"]:
            raise UnforkableError("; ".join(answer["reasons"]))
        self._ready = True

    def fork(self, ranks: Sequence[Mapping[str, Any]], descriptors: tuple[int, int]) -> list[int]:
        """Fork one process a rank, with ``descriptors`` as their stdout and stderr; return the pids.

        Raises:
            UnforkableError: the server is gone.
        """
        self._statuses.clear()
        self._send({"op": "fork", "ranks": list(ranks)}, descriptors)
        answer = self._await("forked", _FORK_SECONDS)
        if answer is None:
            raise UnforkableError(f"the fork server ended: {self._last_words()}")
        self._pids = answer["pids"]
        return list(self._pids)

    def rank_statuses(self) -> dict[int, int]:
        """Exit statuses so far by rank, in the order they came; of a lost server, killed for all."""
        self._hear(0.0)
        ranks = {pid: rank for rank, pid in enumerate(self._pids)}
        statuses = {ranks[pid]: status for pid, status in self._statuses.items() if pid in ranks}
        if self._lost:
            statuses.update({rank: _GONE_STATUS for rank in ranks.values() if rank not in statuses})
        return statuses

    @property
    def alive(self) -> bool:
        """Whether it can fork again."""
        return not self._lost and self._kept.poll() is None

    def tree(self) -> list[Process]:
        """The living processes of the forked trial."""
        return self._kept.tree(keep_root=True)

    def register(self, environment: Mapping[str, str]) -> None:
        """Tell the reaper what a rank will leave behind if we are killed."""
        self._kept.register(environment)

    def end_trial(self, grace_seconds: float) -> None:
        """End whatever the forked trial has running."""
        self._kept.end(grace_seconds=grace_seconds, keep_root=True)

    def close(self) -> None:
        """End the server and everything below it."""
        self._channel.close()
        self._kept.close()
        self._scratch.close()

    def _last_words(self) -> str:
        size = os.fstat(self._printed).st_size
        text = os.pread(self._printed, 4096, max(size - 4096, 0)).decode("utf-8", "replace")
        return " ".join(text.split())[-300:] or "no word from it"

    def _send(self, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
        data = fork_server.packed(dict(message))
        try:
            sent = socket.send_fds(self._channel, [data], list(descriptors)) if descriptors else 0
            self._channel.sendall(data[sent:])
        except OSError:
            self._lost = True

    def _await(self, event: str, timeout_seconds: float) -> dict[str, Any] | None:
        deadline = time.monotonic() + timeout_seconds
        while not self._lost and (left := deadline - time.monotonic()) > 0:
            message = self._hear(left, until=event)
            if message is not None:
                return message
        return None

    def _hear(self, timeout_seconds: float, until: str | None = None) -> dict[str, Any] | None:
        """Take what has arrived; return the first message of kind ``until``."""
        while not self._lost and select.select([self._channel], [], [], timeout_seconds)[0]:
            received = fork_server.receive(self._channel)
            if received is None:
                self._lost = True
                return None
            message = received[0]
            if message["event"] == "exit":
                self._statuses[message["pid"]] = message["status"]
            elif message["event"] == until:
                return message
            timeout_seconds = 0.0
        return None
