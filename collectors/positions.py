"""How far the journals were read, on disk: offsets and what was counted up to them, in one file."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1

Key = tuple[str, int, int, int]
"""Path of the run's folder, its device and inode, and the rank."""


def write_positions(path: Path, documents: Iterable[tuple[Key, Mapping[str, Any]]]) -> None:
    """Replace the file as a whole; a kill leaves the old one or the new one. Raises OSError."""
    ranks = [
        {"folder": folder, "device": device, "inode": inode, "rank": rank, "journal": document}
        for (folder, device, inode, rank), document in documents
    ]
    data = json.dumps({"schema": SCHEMA, "ranks": ranks}, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise


def read_positions(path: Path) -> dict[Key, Mapping[str, Any]]:
    """What was written; nothing where there is no such file or it holds anything else."""
    try:
        found = json.loads(path.read_bytes())
        if found["schema"] != SCHEMA:
            return {}
        return {
            (str(one["folder"]), int(one["device"]), int(one["inode"]), int(one["rank"])): dict(
                one["journal"]
            )
            for one in found["ranks"]
        }
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
