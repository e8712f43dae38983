"""The folder of a watched run, as the agent of a shared machine must be able to read it."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from flyball.runner.probe.journal import Journal
from flyball.runner.watched_folder import make_run_folder, make_watched_folder


@pytest.fixture
def private_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    assert os.umask(before) == 0o077, "whoever asks for another umask gets its own back"


@pytest.mark.usefixtures("private_umask")
def test_its_group_reads_it_whatever_the_umask(tmp_path: Path) -> None:
    shared = tmp_path / "runs"
    shared.mkdir()
    shared.chmod(0o3773)
    folder = make_watched_folder(shared, "mine", ["train.py"]).path
    assert folder.stat().st_mode & 0o7777 == 0o2750, "the set-group-ID bit of the shared folder is handed on"
    journal = Journal(str(folder))
    journal.open(0)
    journal.close()
    assert (folder / "rank-0.jsonl").stat().st_mode & 0o777 == 0o640


@pytest.mark.usefixtures("private_umask")
def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    with pytest.raises(FileExistsError):
        make_run_folder(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
