"""The journals of one host's runs, read once for all collectors."""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from flyball.clock import Clock
from flyball.collectors.journal_file import is_shared
from flyball.collectors.journal_follow import READ_BYTES
from flyball.collectors.positions import Key, read_positions, write_positions
from flyball.collectors.processes import certainly_gone, process_started
from flyball.collectors.rank_follow import FollowedRank, Now, ProcessGone, ProcessStarted
from flyball.collectors.run_folder import Rules, RunFolder, printable
from flyball.collectors.run_state import RankState
from flyball.file_system import NETWORK_FILE_SYSTEMS, file_system_of

MOST_RANKS = 256
"""Ranks that are followed at once: each holds a file open."""
SCAN_SECONDS = 2.0
SILENCE_SECONDS = 900.0
"""After so long without a line, a rank whose process cannot be seen counts as gone."""
_MOST_BYTES = 4 * READ_BYTES
_LEAST_BYTES = 256 << 10
_RECHECKED = 128
_MOST_FOLDERS = 20_000


@dataclass(frozen=True, kw_only=True, slots=True)
class JournalFault:
    """A journal that is not read, or not yet."""

    run: str
    rank: int | None
    """None where it is the run's folder that is not read."""
    reason: str
    """In snake case."""
    detail: str


def on_network(path: Path) -> bool:
    """Whether several machines may have the files below a path open."""
    return file_system_of(path) in NETWORK_FILE_SYSTEMS


class Runs:
    """Finds runs below its root folders and follows the journal of every rank of this host.

    A root that lies on a network file system holds other machines' runs too: there a rank belongs to this
    host by its header. Elsewhere all do, whatever their containers call themselves.

    Args:
        roots: folders that hold a folder a run.
        clock: wall and monotonic time.
        host: this machine's name.
        positions: file that a restart goes on from; None keeps nothing.
        finished_seconds: how long a rank is given out after its end.
        scan_seconds: from one look for new runs to the next.
        silence_seconds: after so long without a line, a rank whose process cannot be seen counts as gone.
        started: when the living process of an id started, on the monotonic clock.
        gone: whether a process has ended for certain.
        shared_with_hosts: whether a root lies on a network file system.
    """

    def __init__(
        self,
        roots: Sequence[Path],
        *,
        clock: Clock,
        host: str,
        positions: Path | None = None,
        finished_seconds: float = 60.0,
        scan_seconds: float = SCAN_SECONDS,
        silence_seconds: float = SILENCE_SECONDS,
        most_ranks: int = MOST_RANKS,
        started: ProcessStarted = process_started,
        gone: ProcessGone = certainly_gone,
        shared_with_hosts: Callable[[Path], bool] = on_network,
    ) -> None:
        self.roots, self.clock, self.host = tuple(roots), clock, host
        self.positions, self.finished_seconds = positions, finished_seconds
        self._rules = Rules(
            started=started, gone=gone, finished_seconds=finished_seconds, silence_seconds=silence_seconds
        )
        self._scan_seconds, self._most_ranks = scan_seconds, most_ranks
        self._shared_with_hosts = shared_with_hosts
        self._lock, self._saving = threading.Lock(), threading.Lock()
        self._folders: dict[str, RunFolder] = {}
        self._restored: dict[Key, Mapping[str, Any]] = read_positions(positions) if positions else {}
        self._recheck_from = 0
        self._read_at = self._scanned_at = float("-inf")
        self._given: tuple[RankState, ...] = ()
        self._faults: tuple[JournalFault, ...] = ()
        self._networks: dict[Path, bool] = {}
        self._links: list[JournalFault] = []

    def refresh(self, max_age_seconds: float = 0.5) -> Sequence[RankState]:
        """The ranks that are alive, or ended lately; trials included. Each is a copy that changes no more.

        Reads the journals unless they were read less than ``max_age_seconds`` ago. Any thread may call it.
        """
        with self._lock:
            now = Now(wall=self.clock.time(), monotonic=self.clock.monotonic())
            if not 0 <= now.monotonic - self._read_at < max_age_seconds:
                self._refresh(now)
            return self._given

    def faults(self) -> Sequence[JournalFault]:
        """What could not be read at the last refresh."""
        with self._lock:
            return self._faults

    def save(self) -> None:
        """Write offsets and tallies, for a restart. Raises OSError."""
        if self.positions is None:
            return
        with self._saving:
            with self._lock:
                # What belongs to a folder that is not there now may come back, as a mount does.
                kept = {
                    key: document
                    for key, document in self._restored.items()
                    if not Path(key[0]).parent.exists()
                }
                documents = kept | dict(self._documents())
            write_positions(self.positions, documents.items())

    def close(self) -> None:
        """Close every journal; a later ``refresh`` begins anew."""
        with self._lock:
            if self.positions is not None:
                self._restored |= dict(self._documents())
            for folder in self._folders.values():
                folder.close()
            self._folders.clear()
            self._read_at = self._scanned_at = float("-inf")
            self._given, self._faults = (), ()

    def _documents(self) -> Iterator[tuple[Key, Mapping[str, Any]]]:
        for path, folder in self._folders.items():
            for rank, document in folder.documents():
                yield (path, *folder.identity, rank), document

    def _refresh(self, now: Now) -> None:
        scans = not 0 <= now.monotonic - self._scanned_at < self._scan_seconds
        if scans:
            self._scan(now)
            self._scanned_at = now.monotonic
        self._read(now)
        if scans:
            self._watch(now)
        self._read_at = now.monotonic
        self._give(now)

    def _scan(self, now: Now) -> None:
        self._links.clear()
        found = {path: stat for root in self.roots for path, stat in self._entries(root)}
        for path in self._folders.keys() - found.keys():
            self._drop(path)
        self._recheck()
        for path, stat in found.items():
            identity = (stat.st_dev, stat.st_ino)
            folder = self._folders.get(path)
            if folder is not None and folder.identity != identity:
                self._drop(path)
                folder = None
            if folder is None:
                folder = self._folders[path] = self._new_folder(path, identity, owner=stat.st_uid)
            folder.update(stat.st_mtime_ns, now, self._rules, partial(self._room, folder))

    def _entries(self, root: Path) -> Iterator[tuple[str, os.stat_result]]:
        try:
            with os.scandir(root) as entries:
                for number, entry in enumerate(entries):
                    if number >= _MOST_FOLDERS:
                        return
                    if entry.is_symlink():
                        name, where = printable(entry.name), printable(entry.path)
                        self._links.append(_fault(name, None, "run_folder_is_a_link", where))
                    elif entry.is_dir(follow_symlinks=False):
                        yield entry.path, entry.stat(follow_symlinks=False)
        except OSError:
            # A root that is not there yet is made by the first run.
            return

    def _new_folder(self, path: str, identity: tuple[int, int], *, owner: int) -> RunFolder:
        mine = [key for key in self._restored if key[:3] == (path, *identity)]
        restored = {key[3]: self._restored.pop(key) for key in mine}
        root = Path(path).parent
        if root not in self._networks:
            self._networks[root] = self._shared_with_hosts(root)
        return RunFolder(
            path,
            identity,
            owner=owner,
            shared=is_shared(root),
            on_network=self._networks[root],
            restored=restored,
        )

    def _drop(self, path: str) -> None:
        self._folders.pop(path).close()

    def _room(self, folder: RunFolder) -> int:
        """How many more ranks of a folder may be followed; in a shared root no user takes more than half."""
        followed = Counter[int]()
        for one in self._folders.values():
            followed[one.owner] += len(one.ranks)
        left = self._most_ranks - followed.total()
        if not folder.shared:
            return left
        return min(left, max(1, self._most_ranks // 2) - followed[folder.owner])

    def _crowd(self) -> str:
        whose = next(folder.run for folder in self._folders.values() if folder.crowded)
        return (
            f"{whose}, maybe others: at most {self._most_ranks} ranks are followed, half of them of one user"
        )

    def _recheck(self) -> None:
        idle = [folder for folder in self._folders.values() if folder.over]
        begin = self._recheck_from % max(1, len(idle))
        for folder in (*idle[begin:], *idle[:begin])[:_RECHECKED]:
            folder.recheck()
        self._recheck_from = begin + _RECHECKED

    def _followed(self) -> Iterator[tuple[RunFolder, int, FollowedRank]]:
        for folder in self._folders.values():
            for rank, followed in folder.ranks.items():
                yield folder, rank, followed

    def _read(self, now: Now) -> None:
        left = _MOST_BYTES
        for _, _, followed in sorted(self._followed(), key=lambda one: one[2].catching_up):
            left -= followed.read(now, min(READ_BYTES, max(_LEAST_BYTES, left)))

    def _watch(self, now: Now) -> None:
        for folder, rank, followed in list(self._followed()):
            rules = self._rules
            followed.watch(now, rules.started, gone=rules.gone, silence_seconds=rules.silence_seconds)
            if self._is_elsewhere(folder, followed):
                folder.leave(rank)
        for folder in self._folders.values():
            folder.retire(now, self.finished_seconds)

    def _is_elsewhere(self, folder: RunFolder, followed: FollowedRank) -> bool:
        return folder.on_network and followed.known and followed.state.host != self.host

    def _give(self, now: Now) -> None:
        given: dict[tuple[str, int], RankState] = {}
        faults = [*self._links]
        for folder in self._folders.values():
            if folder.refused is not None:
                faults.append(_fault(folder.run, None, folder.refused.reason, folder.refused.detail))
        for folder, rank, followed in self._followed():
            key = (folder.run, rank)
            if followed.refused is not None:
                faults.append(_fault(*key, followed.refused.reason, followed.refused.detail))
            elif followed.catching_up:
                faults.append(_fault(*key, "journal_catching_up", "what was written earlier is being read"))
            if self._is_elsewhere(folder, followed):
                continue
            if followed.known and key in given:
                faults.append(_fault(*key, "run_name_taken", f"{folder.path} and {given[key].folder}"))
            elif followed.known:
                given[key] = followed.shown(now.monotonic)
        if any(folder.crowded for folder in self._folders.values()):
            faults.append(_fault("", None, "too_many_ranks", self._crowd()))
        self._given = tuple(given[key] for key in sorted(given))
        self._faults = tuple(faults)


def _fault(run: str, rank: int | None, reason: str, detail: str) -> JournalFault:
    return JournalFault(run=run, rank=rank, reason=reason, detail=detail)
