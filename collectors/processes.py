"""Processes as /proc shows them (proc(5)): whether one lives, since when, and what it was started with."""

import os
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LONGEST_FILE_BYTES = 1 << 20
_READ_BYTES = 1 << 16
SAME_START_SECONDS = 2.0
"""Two start times of a process that differ by less are one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stat:
    """What /proc/<pid>/stat says."""

    pid: int
    parent: int
    started: float
    """Seconds on the machine's monotonic clock."""
    dead: bool
    """A zombie: only its exit status is left."""


def read_stat(pid: int, *, proc: Path = PROC) -> Stat | None:
    """One process; None when there is none of that id, or it may not be seen."""
    # The name in parentheses may hold blanks and parentheses of its own.
    fields = read_bytes(f"{proc}/{pid}/stat").rpartition(b")")[2].split()
    try:
        ticks, parent = int(fields[19]), int(fields[1])
    except (IndexError, ValueError):
        return None
    # The kernel counts from boot and goes on while it sleeps; the monotonic clock stands still then.
    slept = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    started = ticks / _TICKS_PER_SECOND - slept
    return Stat(pid=pid, parent=parent, started=started, dead=fields[0] in (b"Z", b"X"))


def process_started(pid: int, *, proc: Path = PROC) -> float | None:
    """When a living process started, on the monotonic clock, in seconds; None when it is gone or not seen."""
    found = read_stat(pid, proc=proc)
    return None if found is None or found.dead else found.started


def pid_namespace(*, proc: Path = PROC) -> str:
    """Where our process ids mean something, as the probe's headers say it; empty where it is not known."""
    try:
        boot = (proc / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(proc / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def is_gone(pid: int, started: float, *, proc: Path = PROC) -> bool:
    """Whether a process of our own PID namespace has certainly ended; ``started`` as ``process_started``."""
    found = read_stat(pid, proc=proc)
    if found is not None:
        return found.dead or abs(found.started - started) >= SAME_START_SECONDS
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # it is there and not ours to see, as with proc's option hidepid
        return False
    return False


def certainly_gone(namespace: str, pid: int, started: float) -> bool:
    """Whether a process has ended for certain; of one in another PID namespace nothing can be said.

    Args:
        namespace: where ``pid`` means something, see ``pid_namespace``; empty where it is not known.
        pid: its id.
        started: as ``process_started``.
    """
    return bool(namespace) and namespace == _own_namespace() and is_gone(pid, started)


@cache
def _own_namespace() -> str:
    return pid_namespace()


def all_pids(proc: Path = PROC) -> list[int]:
    """Every process id that this PID namespace shows."""
    try:
        with os.scandir(proc) as entries:
            return [int(entry.name) for entry in entries if entry.name.isdigit()]
    except OSError:
        return []


def environment(pid: int, *, proc: Path = PROC, with_name: str = "") -> dict[str, str]:
    """What a process was started with; empty when it may not be read, or where a wanted name is not in it."""
    whole = read_bytes(f"{proc}/{pid}/environ")
    if with_name.encode() not in whole:
        return {}
    pairs = (entry.partition(b"=") for entry in whole.split(b"\0"))
    return {os.fsdecode(name): os.fsdecode(value) for name, separator, value in pairs if separator}


def maps_library(pid: int, name: bytes, *, proc: Path = PROC) -> bool:
    """Whether a file whose path holds ``name`` is mapped into a process."""
    return name in read_bytes(f"{proc}/{pid}/maps", most_bytes=16 * _LONGEST_FILE_BYTES)


def read_bytes(path: str | Path, *, most_bytes: int = _LONGEST_FILE_BYTES) -> bytes:
    """The begin of a file; nothing where it cannot be read."""
    # A file object costs more than the few bytes of most files here.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    parts: list[bytes] = []
    left = most_bytes
    try:
        while left and (part := os.read(descriptor, min(left, _READ_BYTES))):
            parts.append(part)
            left -= len(part)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
    return b"".join(parts)
