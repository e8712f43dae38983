"""What a trial leaves on the machine when it is ended: shared memory and build locks, removed by exact name.

Standard library only: the reaper runs it without site-packages.
"""

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from flyball.runner.process_tree import all_pids, environment_of
from flyball.runner.shared_memory import SHARED_MEMORY, TrialMemory, holders

_OWN_NAMES = re.compile(r"/dev/shm/(nccl-\w+|torch_(?P<pid>\d+)_\d+_\d+|deepspeed_allreduce_buffer_\S+)")

_REMOTE_KINDS = ("nfs", "cifs", "smb", "lustre", "gpfs", "ceph", "beegfs", "fuse", "glusterfs", "afs", "9p")


@dataclass(slots=True)
class Leftovers:
    """What one trial may leave, by what its processes were seen to use; grows while the trial runs."""

    started: float
    """Seconds since the epoch; a lock older than this is not the trial's."""
    extension_folders: set[str] = field(default_factory=set)
    shared_memory: set[str] = field(default_factory=set)
    locks: set[str] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    memory: TrialMemory = field(default_factory=TrialMemory)
    _unheld: dict[str, int] = field(default_factory=dict)

    def observe(self, pids: Iterable[int]) -> None:
        """Note what follows from the environment of the trial's processes, and the memory they share."""
        known = list(pids)
        self.memory.observe(known)
        for pid in known:
            if pid not in self.seen:
                self.seen.add(pid)
                self.observe_environment(environment_of(pid))

    def observe_environment(self, environment: Mapping[str, str]) -> None:
        """Note the names that follow from a worker's environment."""
        self.shared_memory |= buffer_names(environment)
        folder = environment.get("TORCH_EXTENSIONS_DIR")
        home = environment.get("HOME")
        if folder or home:
            self.extension_folders.add(folder or f"{home}/.cache/torch_extensions")

    def observe_files(self, pids: Iterable[int]) -> None:
        """Note the files that the trial's processes map or hold open; call it just before they are ended."""
        known = list(pids)
        for pid in known:
            self.shared_memory |= _mapped(pid, set(known))
            self.locks |= {path for path in _open_files(pid) if _is_build_lock(path)}

    def clean(self) -> list[str]:
        """Remove what is left and return it; the trial's processes must have ended."""
        named = {path for path in self.shared_memory if Path(path).exists()}
        memory = self.memory.left() | (named - holders(named, all_pids()) if named else set())
        removed = [path for path in sorted(memory) if _remove(path)]
        stale = self.locks | self._stale_locks()
        return removed + [path for path in sorted(stale) if _remove(path)]

    def break_stale_locks(self) -> list[str]:
        """Remove build locks on which the trial would wait for ever: of this user, on a local disk, held by
        nobody at two calls in a row. Return them.

        One look is not enough: the baton closes its file just before it removes it.
        """
        unheld = {lock: _inode(lock) for lock in unheld_locks(self.extension_folders)}
        stale = [lock for lock, inode in unheld.items() if inode and self._unheld.get(lock) == inode]
        self._unheld = unheld
        return [lock for lock in stale if _remove(lock)]

    def _stale_locks(self) -> set[str]:
        locks = {str(lock) for folder in self.extension_folders for lock in Path(folder).glob("**/lock")}
        fresh = {lock for lock in locks if _changed(lock) >= self.started and _is_ours(lock)}
        # torch's baton keeps its lock file open while it builds: one that nobody holds is nobody's
        return fresh - _held(fresh) if fresh else set()


def unheld_locks(folders: Iterable[str]) -> list[str]:
    """Build locks below some extension folders that are this user's, on a local disk, and held by nobody."""
    locks = {str(lock) for folder in folders for lock in Path(folder).glob("**/lock")}
    ours = {lock for lock in locks if _is_ours(lock)}
    return sorted(ours - _held(ours)) if ours else []


def buffer_names(environment: Mapping[str, str]) -> set[str]:
    """Paths of DeepSpeed's CPU all-reduce buffers (its ``csrc/cpu/comm/shm.cpp``), one a rank."""
    address, port = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    if not address or not port:
        return set()
    ranks = environment.get("WORLD_SIZE", "1")
    count = int(ranks) if ranks.isdigit() else 1
    prefix = f"deepspeed_allreduce_buffer_{os.getuid()}_{address}_{port}"
    return {str(SHARED_MEMORY / f"{prefix}_{rank}") for rank in range(count)}


def _mapped(pid: int, ours: set[int]) -> set[str]:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(errors="replace")
    except OSError:
        return set()
    found = set()
    for match in _OWN_NAMES.finditer(maps):
        if match["pid"] is None or int(match["pid"]) in ours:
            found.add(match.group(0))
    return found


def _open_files(pid: int) -> set[str]:
    found = set()
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                found.add(str(entry.readlink()))
    return found


def _is_build_lock(path: str) -> bool:
    return path.endswith("/lock") and "torch_extensions" in path


def _held(paths: set[str]) -> set[str]:
    return paths & {path for pid in all_pids() for path in _open_files(pid)}


def _is_ours(path: str) -> bool:
    """Whether a holder would be a process that we can see: this user's, on this machine."""
    try:
        return Path(path).stat().st_uid == os.getuid() and not _is_remote(path)
    except OSError:
        return False


def _is_remote(path: str) -> bool:
    kinds = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split(" ")
        kinds[point] = kind
    parents = (str(parent) for parent in Path(path).resolve().parents)
    kind = next((kinds[parent] for parent in parents if parent in kinds), "")
    return kind.startswith(_REMOTE_KINDS)


def _inode(path: str) -> int:
    try:
        return Path(path).stat().st_ino
    except OSError:
        return 0


def _changed(path: str) -> float:
    try:
        return Path(path).stat().st_ctime
    except OSError:
        return 0.0


def _remove(path: str) -> bool:
    try:
        Path(path).unlink()
    except OSError:
        return False
    return True
