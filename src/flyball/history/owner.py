"""Who runs a trial: a process, told from a later one with the same number."""

import os
import socket
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Self

PROC = Path("/proc")
LEASE_SECONDS = 900.0
"""An owner that cannot be seen from here (another host or container) is gone after this long unrenewed."""


class Life(Enum):
    """What can be said of an owner from here."""

    ALIVE = auto()
    DEAD = auto()
    UNKNOWN = auto()
    """On another host, or in another container."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Owner:
    """One process."""

    host: str
    pid: int
    started: str
    """``<boot id>/<PID namespace>/<start time in clock ticks>``: no two processes share it and the pid."""

    @classmethod
    def current(cls, *, proc: Path = PROC) -> Self:
        """Return this very process."""
        pid = os.getpid()
        ticks = start_ticks(pid, proc=proc)
        return cls(host=socket.gethostname(), pid=pid, started=f"{_machine(proc)}/{ticks}")

    def life(self, *, one_machine: bool, proc: Path = PROC) -> Life:
        """Say whether the process lives.

        Args:
            one_machine: the database is a file of this machine, so an owner from another boot is gone.
            proc: where the kernel shows processes.
        """
        machine, _, ticks = self.started.rpartition("/")
        here = _machine(proc)
        if machine == here:
            return Life.ALIVE if start_ticks(self.pid, proc=proc) == ticks else Life.DEAD
        rebooted = machine.partition("/")[0] != here.partition("/")[0]
        return Life.DEAD if one_machine and rebooted else Life.UNKNOWN

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def start_ticks(pid: int, *, proc: Path = PROC) -> str | None:
    """Return a process's start time, proc_pid_stat(5) field 22, or None when it is gone or a zombie."""
    try:
        text = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the command in parentheses and may hold blanks and parentheses itself.
    state, *fields = text[text.rindex(")") + 2 :].split()
    return None if state in "ZX" else fields[18]


def _machine(proc: Path) -> str:
    boot = (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{(proc / 'self/ns/pid').readlink()}"
