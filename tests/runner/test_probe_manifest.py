from pathlib import Path
from typing import Any

import pytest

from flyball.runner.probe.manifest import (
    NAME,
    keep_newest,
    newest_whole,
    read_manifest,
    saved_steps,
    synced_file,
    write_manifest,
)


def save(root: Path, step: int, **files: bytes) -> Path:
    """A whole checkpoint with these files."""
    folder = root / f"step-{step}"
    folder.mkdir(parents=True)
    entries: list[dict[str, Any]] = []
    for name, data in (files or {"model": b"weights"}).items():
        (folder / name).write_bytes(data)
        entries.append(synced_file(str(folder / name), str(folder)))
    write_manifest(str(folder), {"step": step, "files": entries})
    return folder


def test_the_newest_whole_checkpoint_is_found(tmp_path: Path) -> None:
    for step in (5, 100, 20):
        save(tmp_path, step)
    assert newest_whole(str(tmp_path)) == (100, [])
    assert saved_steps(str(tmp_path)) == [100, 20, 5]


def test_there_is_none_in_an_empty_folder_or_one_that_is_not_there(tmp_path: Path) -> None:
    assert newest_whole(str(tmp_path)) == (None, [])
    assert newest_whole(str(tmp_path / "none")) == (None, [])


def cut(folder: Path) -> None:
    (folder / "model").write_bytes(b"weig")


def flip(folder: Path) -> None:
    (folder / "model").write_bytes(b"weighty")


def lose(folder: Path) -> None:
    (folder / "model").unlink()


def without_manifest(folder: Path) -> None:
    (folder / NAME).unlink()


def torn_manifest(folder: Path) -> None:
    (folder / NAME).write_bytes((folder / NAME).read_bytes()[:20])


def newer_manifest(folder: Path) -> None:
    (folder / NAME).write_text('{"schema": 99, "files": []}')


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "model has another size than was written"),
        (flip, "model does not hold what was written"),
        (lose, "model: No such file or directory"),
        (without_manifest, "it has no manifest: it was not saved to its end"),
        (torn_manifest, "its manifest cannot be read"),
        (newer_manifest, "its manifest is of another version"),
    ],
)
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path, damage: Any, reason: str) -> None:
    save(tmp_path, 10)
    damage(save(tmp_path, 20))
    step, torn = newest_whole(str(tmp_path))
    assert step == 10
    assert len(torn) == 1
    assert torn[0].startswith(f"the checkpoint of step 20 is not loaded: {reason}")


def test_older_ones_go_and_so_does_what_is_torn_but_nothing_else(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save(tmp_path, step)
    (tmp_path / "step-9").mkdir()
    (tmp_path / "step-final").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    keep_newest(str(tmp_path), 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-2", "step-3", "step-final"]


def test_files_are_listed_by_their_path_in_the_checkpoint(tmp_path: Path) -> None:
    folder = save(tmp_path, 4, model=b"abc", empty=b"")
    assert read_manifest(str(folder))["files"] == [
        {"path": "model", "bytes": 3, "crc32": 891568578},
        {"path": "empty", "bytes": 0, "crc32": 0},
    ]
