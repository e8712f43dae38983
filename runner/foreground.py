"""Runs one command in our place: its terminal, its signals and its end are what they would be without us.

The command gets a process group of its own, in the terminal's foreground where we stood there. We wait in
``sigwaitinfo``: no handler runs, no other thread is ever interrupted, and what is sent to us is sent on.
"""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

from flyball.errors import CommandError

_NOT_OURS = frozenset({signal.SIGKILL, signal.SIGSTOP})
# Python ignores these two from its start, whatever it was handed.
_PYTHON_IGNORES = frozenset({signal.SIGPIPE, signal.SIGXFSZ})
_NOT_SENT_ON = frozenset({signal.SIGCHLD, signal.SIGTTIN, signal.SIGTTOU})
_FROM_KERNEL = 0x80
"""``si_code`` of a signal that a terminal sends (SI_KERNEL)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How the command ended; one of the two is None."""

    exit_status: int | None = None
    signal: int | None = None
    told: tuple[int, ...] = ()
    """Signals that were passed on to it, and those that came with its end."""

    @property
    def text(self) -> str:
        """In words."""
        if self.signal is None:
            return f"exit status {self.exit_status}"
        return f"killed by {signal_name(self.signal)}"


def signal_name(number: int) -> str:
    """Return ``SIGTERM`` for 15; a real-time signal is ``signal 40``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Terminal:
    """The controlling terminal, if there is one."""

    def __init__(self) -> None:
        try:
            self._descriptor: int | None = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError:
            self._descriptor = None

    def is_held_by(self, group: int) -> bool:
        """Whether a process group is in the foreground."""
        if self._descriptor is None:
            return False
        try:
            return os.tcgetpgrp(self._descriptor) == group
        except OSError:  # hung up
            return False

    def give_to(self, group: int) -> None:
        """Put a process group into the foreground; SIGTTOU must be blocked or ignored."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.tcsetpgrp(self._descriptor, group)

    def close(self) -> None:
        """Let go of it."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def run_in_place(
    command: Sequence[str], environment: Mapping[str, str], *, started: Callable[[int], None]
) -> Ending:
    """Run a command to its end, from the main thread while there is no other.

    Args:
        command: to look up in PATH, with its arguments.
        environment: the whole of it.
        started: called with the command's process id as soon as it runs; it may start threads, and must not
            raise.

    From its return on, a signal that asks to end ends this process as the command ended.

    Raises:
        CommandError: there is no such program, or it may not be run.
    """
    ours = _signals()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ours)
    terminal = Terminal()
    try:
        process = _spawn(command, environment, terminal, before)
        try:
            ending = _Watch(process, terminal, ours).to_the_end(started)
            _hurry_on_signals(ending)
            return replace(ending, told=(*ending.told, *_drop_pending(ours)))
        finally:
            if not terminal.is_held_by(os.getpgrp()) and terminal.is_held_by(process.pid):
                terminal.give_to(os.getpgrp())
    finally:
        terminal.close()
        _drop_pending(ours)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _signals() -> frozenset[int]:
    """Return those to wait for; what we were told to ignore, as by nohup, the command ignores too."""
    catchable = signal.valid_signals() - _NOT_OURS
    ignored = {each for each in catchable if signal.getsignal(each) == signal.SIG_IGN} - _PYTHON_IGNORES
    return frozenset(int(each) for each in (catchable - ignored) | {signal.SIGCHLD, signal.SIGTTOU})


def _drop_pending(ours: frozenset[int]) -> list[int]:
    # One that came with the command's end would end us before its status is passed on.
    dropped = []
    while (info := signal.sigtimedwait(ours, 0)) is not None:
        if info.si_signo not in _NOT_SENT_ON:
            dropped.append(info.si_signo)
    return dropped


def _spawn(
    command: Sequence[str],
    environment: Mapping[str, str],
    terminal: Terminal,
    mask: Collection[int],
) -> subprocess.Popen[bytes]:
    in_front = terminal.is_held_by(os.getpgrp())
    # Where SIGCHLD is ignored the kernel keeps no exit status; the command gets what we were handed.
    at_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def prepare() -> None:
        os.setpgid(0, 0)
        signal.signal(signal.SIGCHLD, at_child)
        if in_front:
            terminal.give_to(os.getpgrp())
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    try:
        # No other thread runs yet, so Python code between fork and exec is safe.
        process = subprocess.Popen(command, env=dict(environment), close_fds=False, preexec_fn=prepare)
    except (OSError, ValueError) as error:
        if in_front:
            terminal.give_to(os.getpgrp())
        reason = getattr(error, "strerror", None) or str(error)
        mend = "write a program that is in PATH, or its path"
        raise CommandError(f"{command[0]} cannot be run: {reason}", where="command", mend=mend) from error
    return process


class _Watch:
    def __init__(self, process: subprocess.Popen[bytes], terminal: Terminal, ours: frozenset[int]) -> None:
        self._process, self._terminal, self._ours = process, terminal, ours
        self._group = process.pid
        self._told: dict[int, None] = {}

    def to_the_end(self, started: Callable[[int], None]) -> Ending:
        started(self._process.pid)
        ending = self._reap()
        while ending is None:
            info = signal.sigwaitinfo(self._ours)
            if info.si_signo == signal.SIGCHLD:
                ending = self._reap()
            elif info.si_signo not in _NOT_SENT_ON:
                self._send_on(info)
        return ending

    def _send_on(self, info: signal.struct_siginfo) -> None:
        if info.si_signo == signal.SIGCONT:
            self._go_on()
            return
        self._told[info.si_signo] = None
        # A terminal, and a shell that hangs up, speak to whole groups; whoever else, to one process.
        hangs_up = info.si_signo == signal.SIGHUP and info.si_pid == os.getsid(0)
        send = os.killpg if info.si_code == _FROM_KERNEL or hangs_up else os.kill
        with contextlib.suppress(ProcessLookupError):
            send(self._group, info.si_signo)

    def _reap(self) -> Ending | None:
        """Return how the command ended; where it stopped, stop as well until we are told to go on."""
        pid, status = os.waitpid(self._process.pid, os.WNOHANG | os.WUNTRACED)
        if pid == 0:
            return None
        if os.WIFSTOPPED(status):
            self._stop()
            return None
        # Popen would wait for it once more.
        self._process.returncode = os.waitstatus_to_exitcode(status)
        if os.WIFSIGNALED(status):
            return Ending(signal=os.WTERMSIG(status), told=tuple(self._told))
        return Ending(exit_status=os.WEXITSTATUS(status), told=tuple(self._told))

    def _stop(self) -> None:
        """Stop our own job, as the terminal would have; a group without a shell over it goes on at once."""
        if self._terminal.is_held_by(self._group):
            self._terminal.give_to(os.getpgrp())
        stopping = {signal.SIGTSTP}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, stopping)
        os.killpg(0, signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_BLOCK, stopping)
        self._go_on()

    def _go_on(self) -> None:
        if self._terminal.is_held_by(os.getpgrp()):
            self._terminal.give_to(self._group)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._group, signal.SIGCONT)


def _hurry_on_signals(ending: Ending) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: leave(ending))


def leave(ending: Ending) -> NoReturn:
    """End this process as the command ended, whatever else still runs in it."""
    if ending.signal is not None:
        die_of(ending.signal)
    os._exit(ending.exit_status or 0)


def die_of(number: int) -> NoReturn:
    """End this process by a signal, so that whoever waits for it sees the same as of the command."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if number not in _NOT_OURS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    # A process that is the first of its container is not ended by a signal of its own.
    os._exit(128 + number)
