"""A checkpoint's manifest: written and synced after all of its files, so that what has one is whole.

DeepSpeed rewrites its file ``latest`` in place and syncs nothing; here only the manifest counts. The standard
library alone: who starts a run again reads it without torch.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Mapping
from typing import Any

NAME = "manifest.json"
SCHEMA = 1
_PREFIX = "step-"
_PIECE_BYTES = 1 << 20


class TornCheckpointError(ValueError):
    """A checkpoint that must not be loaded; the text says why."""


def tag_of(step: int) -> str:
    """The name of the folder that holds the checkpoint of a step."""
    return f"{_PREFIX}{step}"


def step_of(name: str) -> int | None:
    """The step of a checkpoint's folder name; None for any other name."""
    digits = name[len(_PREFIX) :]
    return int(digits) if name.startswith(_PREFIX) and digits.isascii() and digits.isdigit() else None


def synced_file(path: str, folder: str) -> dict[str, Any]:
    """Sync a file to its disk; return its entry: path in ``folder``, bytes, CRC-32. Raises OSError."""
    check, size = 0, 0
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        while piece := file.read(_PIECE_BYTES):
            check, size = zlib.crc32(piece, check), size + len(piece)
    return {"path": os.path.relpath(path, folder), "bytes": size, "crc32": check}


def write_manifest(folder: str, fields: Mapping[str, Any]) -> None:
    """Make a checkpoint whole: write its manifest, synced, in one move. Raises OSError."""
    new = os.path.join(folder, f".{NAME}")
    with open(new, "w", encoding="utf-8") as file:
        json.dump({"schema": SCHEMA, **fields}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, os.path.join(folder, NAME))
    for each in (folder, os.path.dirname(folder)):
        _sync_folder(each)


def _sync_folder(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_manifest(folder: str) -> dict[str, Any]:
    """Return a checkpoint's manifest. Raises TornCheckpointError where it has none that can be read."""
    try:
        with open(os.path.join(folder, NAME), encoding="utf-8") as file:
            data = json.load(file)
    except FileNotFoundError:
        raise TornCheckpointError("it has no manifest: it was not saved to its end") from None
    except (OSError, ValueError) as error:
        raise TornCheckpointError(f"its manifest cannot be read: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or not isinstance(data.get("files"), list):
        raise TornCheckpointError("its manifest is of another version")
    return data


def check_files(folder: str, manifest: Mapping[str, Any]) -> None:
    """Read every file of a checkpoint. Raises TornCheckpointError at one that is not what was written."""
    for entry in manifest["files"]:
        path = os.path.join(folder, entry["path"])
        try:
            if os.path.getsize(path) != entry["bytes"]:
                raise TornCheckpointError(f"{entry['path']} has another size than was written")
            if synced_file(path, folder)["crc32"] != entry["crc32"]:
                raise TornCheckpointError(f"{entry['path']} does not hold what was written")
        except OSError as error:
            raise TornCheckpointError(f"{entry['path']}: {error.strerror}") from error


def saved_steps(root: str) -> list[int]:
    """The steps whose checkpoints have a manifest, newest first."""
    return [step for step in _all_steps(root) if os.path.exists(os.path.join(root, tag_of(step), NAME))]


def _all_steps(root: str) -> list[int]:
    try:
        names = os.listdir(root)
    except OSError:
        return []
    return sorted((step for step in map(step_of, names) if step is not None), reverse=True)


def newest_whole(root: str) -> tuple[int | None, list[str]]:
    """Find what to go on from, reading each candidate to its end.

    Returns:
        The step of the newest whole checkpoint, or None; and a line for each newer one that is torn.
    """
    torn = []
    for step in _all_steps(root):
        folder = os.path.join(root, tag_of(step))
        try:
            check_files(folder, read_manifest(folder))
        except TornCheckpointError as error:
            torn.append(f"the checkpoint of step {step} is not loaded: {error}")
            continue
        return step, torn
    return None, torn


def remove_checkpoint(root: str, step: int) -> None:
    """Remove a checkpoint; the manifest goes first, so that half of it is never taken for a whole one."""
    folder = os.path.join(root, tag_of(step))
    with contextlib.suppress(OSError):  # it has none, or the folder cannot be changed at all
        os.unlink(os.path.join(folder, NAME))
    shutil.rmtree(folder, ignore_errors=True)


def keep_newest(root: str, count: int) -> None:
    """Remove all but the newest ``count`` whole checkpoints, and what is torn."""
    kept = set(saved_steps(root)[:count])
    for step in _all_steps(root):
        if step not in kept:
            remove_checkpoint(root, step)
