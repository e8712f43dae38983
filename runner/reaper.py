"""The process between flyball and a trial: starts it, adopts its orphans, and ends it when flyball is gone.

One reaper a cold trial and one a fork server, in a session of its own, standard library only. It holds one
end of a socket; when the other end closes, however its owner died, everything below it is ended and what the
trial left on the machine is removed.

Messages are JSON lines. To the reaper: ``spawn`` (argv, env, cwd, pass_fds), ``register`` (environment),
``end`` (grace_seconds, keep_root). From it: ``spawned`` (pid), ``failed`` (error), ``exit`` (status),
``ended`` (pids).
"""

import errno
import json
import os
import selectors
import signal
import socket
import sys
import time
from typing import Any

from flyball.runner.leftovers import Leftovers
from flyball.runner.process_tree import adopt_orphans, descendants, die_with_parent, end_all

_ORPHAN_GRACE_SECONDS = 2.0
_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGPIPE)


class Reaper:
    """Serves one owner until the owner is gone."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._root: int | None = None
        self._root_ended = False
        self._leftovers = Leftovers(started=time.time())
        self._pending = b""

    def run(self) -> None:
        """Serve until the control socket closes, then leave nothing."""
        adopt_orphans()
        wakeup, wakeup_write = socket.socketpair()
        for end in (wakeup, wakeup_write):
            end.setblocking(False)
        signal.set_wakeup_fd(wakeup_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        selector = selectors.DefaultSelector()
        selector.register(wakeup, selectors.EVENT_READ)
        selector.register(self._control, selectors.EVENT_READ)
        open_ = True
        while open_:
            for key, _ in selector.select():
                if key.fileobj is wakeup:
                    wakeup.recv(4096)
                    self._reap()
                else:
                    open_ = self._serve() and open_
        self._last_duty()

    def _serve(self) -> bool:
        try:
            data = self._control.recv(1 << 16)
        except ConnectionError:
            data = b""
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            getattr(self, "_" + message["op"])(message)
        return bool(data)

    def _tell(self, **message: Any) -> None:
        try:
            self._control.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            # the owner is gone: the next read says so and the last duty follows
            return

    def _spawn(self, message: dict[str, Any]) -> None:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            self._exec(message, write)
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            failure = pipe.read()
        self._let_go(message.get("pass_fds", ()))
        if failure:
            os.waitpid(pid, 0)
            self._tell(event="failed", error=failure.decode())
            return
        self._root = pid
        self._tell(event="spawned", pid=pid)

    def _exec(self, message: dict[str, Any], write: int) -> None:
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_IGNORED, signal.SIGCHLD, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            die_with_parent()
            os.chdir(message["cwd"])
            for descriptor in message.get("pass_fds", ()):
                os.set_inheritable(descriptor, True)
            os.execvpe(message["argv"][0], message["argv"], message["env"])
        except OSError as error:
            os.write(write, f"{error.strerror or errno.errorcode.get(error.errno or 0, error)}".encode())
        finally:
            os._exit(127)

    def _let_go(self, pass_fds: list[int]) -> None:
        """Close our copies of the trial's descriptors, so that its readers see the end of the trial."""
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (1, 2):
            os.dup2(null, descriptor)
        for descriptor in [null, *pass_fds]:
            os.close(descriptor)

    def _register(self, message: dict[str, Any]) -> None:
        self._leftovers.observe_environment(message["environment"])

    def _end(self, message: dict[str, Any]) -> None:
        keep = [self._root] if message.get("keep_root") and self._root is not None else []
        pids = end_all(
            lambda: descendants(os.getpid(), keep=keep),
            grace_seconds=message["grace_seconds"],
            reap=self._reap,
        )
        self._reap()
        self._tell(event="ended", pids=pids)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._root and not self._root_ended:
                self._root_ended = True
                self._tell(event="exit", status=os.waitstatus_to_exitcode(status))

    def _last_duty(self) -> None:
        pids = [process.pid for process in descendants(os.getpid())]
        self._leftovers.observe(pids)
        self._leftovers.observe_files(pids)
        end_all(lambda: descendants(os.getpid()), grace_seconds=_ORPHAN_GRACE_SECONDS, reap=self._reap)
        self._leftovers.clean()


def main(descriptor: int) -> None:
    """Run a reaper on an inherited socket."""
    os.set_inheritable(descriptor, False)
    Reaper(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
