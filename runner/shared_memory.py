"""Which files in /dev/shm are one trial's: those that nobody but its own processes was seen to use.

Python names its shared memory and semaphores at random (``psm_*``, ``sem.mp-*``) and scripts choose names of
their own, so that no name tells whose a file is. Standard library only: the reaper runs it without
site-packages.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flyball.runner.process_tree import all_pids

SHARED_MEMORY = Path("/dev/shm")


def own_files() -> dict[str, int]:
    """Files of this user in /dev/shm, by path, with their inodes."""
    found = {}
    with suppress(OSError), os.scandir(SHARED_MEMORY) as entries:
        for entry in entries:
            with suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                if status.st_uid == os.getuid() and entry.is_file(follow_symlinks=False):
                    found[entry.path] = status.st_ino
    return found


@dataclass(slots=True)
class TrialMemory:
    """The shared memory that a trial's processes have made, as far as it was seen while they lived."""

    before: dict[str, int] = field(default_factory=own_files)
    """What was there before the trial."""
    _used: dict[str, int] = field(default_factory=dict)
    _foreign: set[tuple[str, int]] = field(default_factory=set)
    _asked: set[tuple[str, int]] = field(default_factory=set)

    def observe(self, pids: Iterable[int]) -> None:
        """Note what the trial's living processes map or hold open, and what others do."""
        new = self._new()
        if not new:
            return
        own = set(pids)
        for pid in own:
            self._used.update({path: new[path] for path in used_by(pid) & new.keys()})
        if set(new.items()) - self._asked:
            # once for each file: it reads all of /proc
            others = holders(set(new), set(all_pids()) - own)
            self._foreign |= {(path, new[path]) for path in others}
            self._asked |= set(new.items())

    def left(self) -> set[str]:
        """Paths that only the trial used and that no living process uses; its own must have ended."""
        there = own_files()
        files = {path: inode for path, inode in self._used.items() if there.get(path) == inode}
        mine = {path for path, inode in files.items() if (path, inode) not in self._foreign}
        return mine - holders(mine, all_pids()) if mine else set()

    def _new(self) -> dict[str, int]:
        return {path: inode for path, inode in own_files().items() if self.before.get(path) != inode}


def used_by(pid: int) -> set[str]:
    """Paths below /dev/shm that a process maps or holds open."""
    found = set()
    prefix = f"{SHARED_MEMORY}/"
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            place = line.find(prefix)
            if place >= 0:
                found.add(line[place:])
    with suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with suppress(OSError):
                target = str(Path(entry.path).readlink())
                if target.startswith(prefix):
                    found.add(target)
    return found


def holders(paths: set[str], pids: Iterable[int]) -> set[str]:
    """Those of ``paths`` that one of the processes maps or holds open."""
    found: set[str] = set()
    for pid in pids:
        found |= used_by(pid) & paths
    return found
