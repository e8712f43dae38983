"""Whether a run that nobody has seen end is still going on, by the processes that its journals name."""

from pathlib import Path

from flyball.collectors.journal import RankJournal
from flyball.collectors.processes import PROC, SAME_START_SECONDS, pid_namespace, process_started

HEAD_BYTES = 1 << 16
"""Of a journal: its first line is the header."""


def is_running(folder: Path, *, proc: Path = PROC) -> bool:
    """Whether a rank of the run in a folder lives on this machine; false where that cannot be seen from here.

    Args:
        folder: of the run; need not be there any more.
        proc: where the kernel shows processes.
    """
    here = pid_namespace(proc=proc)
    return bool(here) and any(_lives(path, here, proc) for path in sorted(folder.glob("rank-*.jsonl")))


def _lives(path: Path, here: str, proc: Path) -> bool:
    journal = RankJournal(path=path)
    try:
        journal.refresh(HEAD_BYTES)
    except OSError:
        return False
    header = journal.header or {}
    pid, started = header.get("pid"), header.get("started")
    if (
        header.get("pid_namespace") != here
        or not isinstance(pid, int)
        or not isinstance(started, int | float)
    ):
        return False
    found = process_started(pid, proc=proc)
    return found is not None and abs(found - started) < SAME_START_SECONDS
