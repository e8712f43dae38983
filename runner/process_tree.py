"""Processes as /proc shows them: who descends from whom, who carries our marker, and ending them by pid.

Standard library only: the reaper runs it without site-packages. Signals go through a pidfd after the start
time was read again, so that a pid that the kernel gave to another process is never hit.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARKER = "FLYBALL_TRIAL"
"""Environment variable that every process of a trial inherits; its value names the trial."""
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.01
_GIVE_UP_SECONDS = 30.0
_CLEANERS = (b"multiprocessing.resource_tracker", b"torch_shm_manager")
"""They unlink the shared memory of their clients, and end, when the last of these is gone."""
_CLEANING_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Process:
    """One line of /proc; the start time tells a process from a later one with the same pid."""

    pid: int
    parent: int
    state: str
    start_ticks: int
    exit_status: int | None
    """Of a zombie: its exit code, or minus the signal that killed it."""


def read_process(pid: int) -> Process | None:
    """Read one process; None when it is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    dead = fields[0] in "ZX"
    status = os.waitstatus_to_exitcode(int(fields[49])) if dead and len(fields) > 49 else None
    return Process(pid, int(fields[1]), fields[0], int(fields[19]), status)


def all_pids() -> list[int]:
    """Every pid that this PID namespace shows."""
    with os.scandir("/proc") as entries:
        return [int(entry.name) for entry in entries if entry.name.isdigit()]


def all_processes() -> list[Process]:
    """Every process that this PID namespace shows."""
    return [process for process in map(read_process, all_pids()) if process is not None]


def descendants(root: int, *, keep: Iterable[int] = ()) -> list[Process]:
    """Living processes below ``root``, parents before children; ``keep`` are left out, their children not."""
    children: dict[int, list[Process]] = {}
    for process in all_processes():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    queue = list(children.get(root, []))
    while queue:
        process = queue.pop(0)
        found.append(process)
        queue += children.get(process.pid, [])
    kept = set(keep)
    return [process for process in found if process.pid not in kept and process.state not in "ZX"]


def environment_of(pid: int) -> dict[str, str]:
    """The environment a process was started with; empty when it cannot be read."""
    try:
        data = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.partition(b"=") for entry in data.split(b"\0") if b"=" in entry)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}


def marked(matches: Callable[[str], bool]) -> list[Process]:
    """Processes of this user and PID namespace whose marker satisfies ``matches``, this one left out."""
    namespace = _namespace(os.getpid())
    found = []
    for process in all_processes():
        if process.pid == os.getpid() or process.state in "ZX":
            continue
        value = environment_of(process.pid).get(MARKER)
        if value is not None and matches(value) and _namespace(process.pid) == namespace:
            found.append(process)
    return found


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def own_marker(serial: int) -> str:
    """A marker's value: this process by pid and start time, and a serial number."""
    own = read_process(os.getpid())
    return f"{os.getpid()}.{own.start_ticks if own else 0}.{serial}"


def is_orphaned(marker: str) -> bool:
    """Whether the process that started a marked trial is gone."""
    pid, _, rest = marker.partition(".")
    ticks = rest.partition(".")[0]
    if not (pid.isdigit() and ticks.isdigit()):
        return False
    owner = read_process(int(pid))
    return owner is None or owner.start_ticks != int(ticks) or owner.state in "ZX"


def send_signal(process: Process, number: int) -> None:
    """Signal exactly this process; one that is gone is no error."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        # Some builds of Python and kernels before 5.3 have no pidfd: look once more, then signal the id.
        current = read_process(process.pid)
        if current is not None and current.start_ticks == process.start_ticks:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)
        return
    try:
        current = read_process(process.pid)
        if current is not None and current.start_ticks == process.start_ticks:
            signal.pidfd_send_signal(descriptor, number)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)


def end_all(
    find: Callable[[], Sequence[Process]], *, grace_seconds: float, reap: Callable[[], None] = lambda: None
) -> list[int]:
    """End whatever ``find`` finds: SIGTERM, a grace, SIGKILL until nothing is found; return the pids.

    Who cleans up after the others is left alone until these have ended, and for a second more.
    """
    asked: dict[int, Process] = {}
    started = alone_since = time.monotonic()
    while time.monotonic() - started < grace_seconds + _GIVE_UP_SECONDS:
        reap()
        living = find()
        if not living:
            break
        now = time.monotonic()
        forced = now - started >= grace_seconds
        others = [process for process in living if not _is_cleaner(process)]
        alone_since = now if others else alone_since
        for process in living if now - alone_since >= _CLEANING_SECONDS else others:
            if forced or asked.get(process.pid) != _identity(process):
                send_signal(process, signal.SIGKILL if forced else signal.SIGTERM)
            asked[process.pid] = _identity(process)
        time.sleep(_POLL_SECONDS)
    return list(asked)


def _is_cleaner(process: Process) -> bool:
    try:
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(name in command for name in _CLEANERS)


def _identity(process: Process) -> Process:
    """The parts that never change: a state or a parent that does is not another process."""
    return Process(process.pid, 0, "", process.start_ticks, None)


def adopt_orphans() -> None:
    """Become the parent of every descendant that loses its own (PR_SET_CHILD_SUBREAPER)."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent's thread that forked us ends (PR_SET_PDEATHSIG)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
