"""Whether a failed write was the disk's fault: no room on it, or a quota used up."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEAST_ROOM_BYTES = 1 << 20
"""A disk with less room than this is full: a journal or a log cannot be written on."""
_NO_ROOM = re.compile(r"No space left on device|Disk quota exceeded")
_SHARED_MEMORY = re.compile(r"shared memory|shm|</torch_|/multiprocessing/")
"""/dev/shm is small and filled by what a configuration asks for (workers, prefetching): no disk."""
_TORCH_WRITER = re.compile(r"inline_container\.cc|PytorchStreamWriter|file write failed")
"""torch's writer in C++ reports only that it failed; the traceback before it has the reason."""
_PATH = re.compile(r": '(?P<path>/[^']+)'$")


def full_folder(record: Mapping[str, Any], output: str, trial: Path) -> str | None:
    """Return the folder that had no room where an exception says so, else None.

    Args:
        record: the exception's ``type``, ``message`` and ``where``.
        output: the end of what the trial printed.
        trial: its folder, named where the exception names no path.
    """
    message = str(record.get("message", "")).strip()
    if _SHARED_MEMORY.search(f"{message} {record.get('where')}"):
        return None
    named = _NO_ROOM.search(message) or (_TORCH_WRITER.search(message) and _NO_ROOM.search(output))
    if not named:
        return None
    path = _PATH.search(message)
    return str(Path(path["path"]).parent) if path else str(trial)


def room_bytes(folder: Path) -> int | None:
    """Return how much may still be written to a folder's disk; None where that is unknown."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
