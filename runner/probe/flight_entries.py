"""Reads the entries of PyTorch's flight recorder: what was begun since, how long it took, what hangs.

An entry is a mapping as ``torch._C._distributed_c10d._dump_nccl_trace`` gives it (format 2: ``record_id``,
``process_group``, ``profiling_name``, ``is_p2p``, ``input_sizes``, ``input_dtypes``, the same for outputs,
``state``, ``time_created_ns``, ``time_discovered_completed_ns``; ``duration_ms`` where NCCL timing is on).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flyball.runner.probe.latency import Latencies

UNSEEN = "unseen"
"""Operations that the ring had already dropped when it was read."""
SOURCE = "flight_recorder"
_BYTES = {
    "Double": 8, "Long": 8, "ComplexFloat": 8, "UInt64": 8, "ComplexDouble": 16,
    "Float": 4, "Int": 4, "UInt32": 4, "Half": 2, "BFloat16": 2, "Short": 2, "UInt16": 2,
}  # fmt: skip
"""Bytes of an element by c10's name of its type; every other one has 1."""
_PAIR = re.compile(r"(send|recv) (\d+)(->|<-)(\d+)$")

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Pending:
    """An operation that was enqueued and has not completed."""

    record_id: int
    op: str
    created: float
    """Seconds since the epoch."""


def operation(entry: Entry) -> str:
    """``all_reduce`` of ``nccl:all_reduce``, ``send`` of ``nccl:send 1->0``."""
    name = str(entry["profiling_name"]).rpartition(":")[2]
    return name.partition(" ")[0].strip("_") or "unnamed"


def payload(entry: Entry) -> int:
    """Bytes of the larger side."""
    return max(_side(entry, "input"), _side(entry, "output"))


def _side(entry: Entry, side: str) -> int:
    total = 0
    for sizes, kind in zip(entry.get(f"{side}_sizes") or (), entry.get(f"{side}_dtypes") or ()):
        count = _BYTES.get(kind, 1)
        for size in sizes:
            count *= size
        total += count
    return total


def link(entry: Entry, ranks: Sequence[int] | None) -> tuple[int, int] | None:
    """Global ranks ``(src, dst)`` of a receive; None for everything else.

    Args:
        entry: one whose name counts ranks within its group.
        ranks: the group's members by their rank in it, where known.
    """
    found = _PAIR.search(str(entry["profiling_name"]))
    if found is None or found.group(1) != "recv":
        return None
    dst, src = int(found.group(2)), int(found.group(4))
    if ranks is None:
        return src, dst
    return (ranks[src], ranks[dst]) if max(src, dst) < len(ranks) else None


class Reader:
    """Goes through the ring again and again, and takes every operation once."""

    def __init__(self) -> None:
        self.last = -1
        self._awaited: set[int] = set()
        """Seen, and without a duration yet."""

    def read(self, entries: Sequence[Entry], groups: Mapping[str, Sequence[int]], into: Latencies) -> None:
        """Count what has begun since the last call; observe the durations that have become known.

        Args:
            entries: all that the ring holds, the oldest first.
            groups: global ranks of each process group, by its name.
            into: where counts and durations go.
        """
        if not entries:
            return
        first, newest = entries[0]["record_id"], entries[-1]["record_id"]
        if newest < self.last:  # the recorder was reset
            self.last, self._awaited = -1, set()
        elif first > self.last + 1 and self.last >= 0:
            into.begun(UNSEEN, first - self.last - 1)
        waiting: set[int] = set()
        for entry in entries:
            number = entry["record_id"]
            if number > self.last:
                into.begun(operation(entry), 1)
            elif number not in self._awaited:
                continue
            duration = entry.get("duration_ms")
            if duration is None:
                waiting.add(number)
            else:
                _observe(entry, groups, duration / 1e3, into)
        self.last, self._awaited = newest, waiting


def _observe(entry: Entry, groups: Mapping[str, Sequence[int]], seconds: float, into: Latencies) -> None:
    if not entry.get("is_p2p"):
        into.collective(operation(entry), payload(entry), SOURCE, seconds)
        return
    pair = link(entry, groups.get(str(entry["process_group"][0])))
    if pair is not None:
        into.message(*pair, payload(entry), SOURCE, seconds)


def oldest_pending(entries: Sequence[Entry]) -> Pending | None:
    """The oldest operation that was enqueued and is not done.

    Operations of one group are done in order. One without an end that a later one of its kind has overtaken
    is not pending: the parts of a batch of sends and receives never get an end of their own, only the batch.
    """
    overtaken: dict[Any, int] = {}
    for entry in entries:
        if _is_done(entry):
            overtaken[_queue(entry)] = entry["record_id"]
    for entry in entries:
        if _is_done(entry):
            continue
        group, is_p2p, _ = _queue(entry)
        done = max(overtaken.get(_queue(entry), -1), overtaken.get((group, is_p2p, "coalesced"), -1))
        if entry["record_id"] > done:
            return Pending(entry["record_id"], operation(entry), entry["time_created_ns"] / 1e9)
    return None


def _is_done(entry: Entry) -> bool:
    return bool(entry.get("state") == "completed" or entry.get("time_discovered_completed_ns"))


def _queue(entry: Entry) -> tuple[Any, bool, str]:
    is_p2p = bool(entry.get("is_p2p"))
    if not is_p2p:
        return entry["process_group"][0], False, ""
    found = _PAIR.search(str(entry["profiling_name"]))
    return entry["process_group"][0], True, found.group(0) if found else operation(entry)
