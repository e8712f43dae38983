"""One run's folder: which ranks it has, which of them are over."""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.collectors.journal import parse_line, rank_of
from flyball.collectors.journal_file import JournalRefused, open_folder, open_journal
from flyball.collectors.processes import SAME_START_SECONDS
from flyball.collectors.rank_follow import FollowedRank, Now, ProcessGone, ProcessStarted

_HEAD_BYTES = 1 << 20
_TAIL_BYTES = 16 << 10
_FRESH_SECONDS = 2.0
"""A folder that changed so lately may change again within the same tick of its time stamp."""

Stamp = tuple[int, int, int]
"""Inode, size and time of a journal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """What holds for all folders."""

    started: ProcessStarted
    gone: ProcessGone
    finished_seconds: float
    silence_seconds: float


class RunFolder:
    """A folder, open while a rank in it is followed.

    Args:
        path: where it stands.
        identity: its device and inode.
        owner: user id of whom it belongs to.
        shared: whether others than its owner may put files there.
        on_network: whether other machines may write there too.
        restored: by rank, what :meth:`FollowedRank.document` wrote before a restart.
    """

    def __init__(
        self,
        path: str,
        identity: tuple[int, int],
        *,
        owner: int,
        shared: bool,
        on_network: bool,
        restored: Mapping[int, Any],
    ) -> None:
        self.path, self.identity = path, identity
        self.owner, self.shared = owner, shared
        self.run = printable(Path(path).name)
        self.ranks: dict[int, FollowedRank] = {}
        """Those that are followed."""
        self.over: dict[int, Stamp] = {}
        """Those that are not followed any more, as they were then."""
        self.refused: JournalRefused | None = None
        self.crowded = False
        """Whether a rank is not followed because there are too many."""
        self.on_network = on_network
        self._restored = dict(restored)
        self._descriptor = -1
        self._modified_ns: int | None = None

    def update(self, modified_ns: int, now: Now, rules: Rules, room: Callable[[], int]) -> None:
        """Look for new journals, where the folder has changed.

        Args:
            modified_ns: when it changed last.
            now: the clocks.
            rules: what holds for all folders.
            room: says how many more ranks may be followed.
        """
        if modified_ns == self._modified_ns:
            return
        fresh = now.wall - modified_ns / 1e9 < _FRESH_SECONDS
        try:
            found = self._list()
            self.refused = None
        except JournalRefused as refused:
            self.refused, found = refused, {}
        except OSError:
            return
        self.crowded = False
        for rank in sorted(found.keys() - self.ranks.keys() - self.over.keys()):
            if self._is_over(rank, now, rules):
                self.over[rank] = found[rank]
            elif room() > 0:
                self._follow(rank)
            else:
                self.crowded = True
        for rank in [rank for rank in self.ranks if rank not in found and not self.ranks[rank].known]:
            self.ranks.pop(rank).close()
        self._modified_ns = None if self.crowded or fresh else modified_ns
        self._close_if_idle()

    def recheck(self) -> None:
        """Follow again what was over and has been written to since."""
        first = min(self.over)
        if self._has_changed(first):
            # Whoever starts a run anew writes to the journals of all its ranks.
            for rank in [rank for rank in self.over if self._has_changed(rank)]:
                del self.over[rank]
            self._modified_ns = None

    def retire(self, now: Now, finished_seconds: float) -> None:
        """Let go of the ranks that ended longer ago than ``finished_seconds``."""
        for rank, followed in list(self.ranks.items()):
            if followed.is_over(now, finished_seconds):
                stamp = _stamp_of(self.path, rank)
                # What came before the stamp was taken must not be passed over.
                if not followed.read(now):
                    self._let_go(rank, stamp)
        self._close_if_idle()

    def leave(self, rank: int) -> None:
        """Follow a rank no more, whatever is written to its journal: it is another machine's."""
        stamp = _stamp_of(self.path, rank)
        self._let_go(rank, None if stamp is None else (stamp[0], -1, -1))
        self._close_if_idle()

    def _let_go(self, rank: int, stamp: Stamp | None) -> None:
        self.ranks.pop(rank).close()
        if stamp is not None:
            self.over[rank] = stamp

    def _has_changed(self, rank: int) -> bool:
        inode, size, modified_ns = self.over[rank]
        found = _stamp_of(self.path, rank)
        return found is None or found[0] != inode or (size >= 0 and found[1:] != (size, modified_ns))

    def documents(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """By rank, what a restart needs."""
        for rank, followed in self.ranks.items():
            document = followed.document()
            if document is not None:
                yield rank, document

    def close(self) -> None:
        """Give all descriptors back."""
        for followed in self.ranks.values():
            followed.close()
        self.ranks.clear()
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if not self.ranks and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _list(self) -> dict[int, Stamp]:
        if self._descriptor < 0:
            self._descriptor = open_folder(Path(self.path))
        found = {}
        with os.scandir(self._descriptor) as entries:
            for entry in entries:
                rank = rank_of(entry.name)
                if rank is not None and entry.name == _name(rank):
                    found[rank] = _stamp(entry.stat(follow_symlinks=False))
        return found

    def _follow(self, rank: int) -> None:
        self.ranks[rank] = FollowedRank(
            Path(self.path),
            self._descriptor,
            run=self.run,
            rank=rank,
            same_owner=self.shared,
            document=self._restored.pop(rank, None),
        )

    def _is_over(self, rank: int, now: Now, rules: Rules) -> bool:
        """Whether a journal that was never read need not be: its run ended long ago."""
        if rank in self._restored:
            return False
        try:
            descriptor, found = open_journal(self._descriptor, _name(rank), same_owner=self.shared)
        except (JournalRefused, FileNotFoundError):
            return False
        try:
            return _ended_long_ago(descriptor, found, now, rules)
        finally:
            os.close(descriptor)


def _ended_long_ago(descriptor: int, found: os.stat_result, now: Now, rules: Rules) -> bool:
    silent = now.wall - found.st_mtime
    if silent <= rules.finished_seconds:
        return False
    last = os.pread(descriptor, _TAIL_BYTES, max(0, found.st_size - _TAIL_BYTES)).rstrip(b"\n")
    record = parse_line(last.rpartition(b"\n")[2])
    if record is not None and record["kind"] == "end":
        return True
    for line in os.pread(descriptor, _HEAD_BYTES, 0).split(b"\n")[:-1]:
        record = parse_line(line)
        if record is not None and record["kind"] == "header":
            return _has_ended(record, rules, is_silent=silent > rules.silence_seconds)
    return silent > rules.silence_seconds


def _has_ended(header: Mapping[str, Any], rules: Rules, *, is_silent: bool) -> bool:
    namespace, pid, started = header.get("pid_namespace"), header.get("pid"), header.get("started")
    if type(pid) is not int or not isinstance(started, int | float):
        return is_silent
    if isinstance(namespace, str) and rules.gone(namespace, pid, float(started)):
        return True
    return is_silent and not _lives(pid, float(started), rules.started)


def _lives(pid: int, started: float, process_started: ProcessStarted) -> bool:
    found = process_started(pid)
    return found is not None and abs(found - started) < SAME_START_SECONDS


def printable(name: str) -> str:
    """A file's name as a label's value: one that is no UTF-8 is escaped."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _name(rank: int) -> str:
    return f"rank-{rank}.jsonl"


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _stamp_of(folder: str, rank: int) -> Stamp | None:
    try:
        return _stamp(os.lstat(f"{folder}/{_name(rank)}"))
    except OSError:
        return None
