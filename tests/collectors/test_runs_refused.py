"""What stands in a folder of runs and is not followed: links, pipes, others' files, too many ranks."""

import os
from pathlib import Path

import pytest
from tests.collectors.journal_fakes import Host, header, only, reasons, step

from flyball.collectors.runs import Runs


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_link_in_place_of_a_run_or_a_journal_is_refused(host: Host, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "rank-0.jsonl").write_bytes(header() + step(1))
    (host.root / "planted").symlink_to(outside)
    (host.root / "job").mkdir()
    host.path().symlink_to(outside / "rank-0.jsonl")
    runs = host.runs()
    assert runs.refresh(0) == ()
    assert sorted(reasons(runs)) == [("job", "journal_is_a_link"), ("planted", "run_folder_is_a_link")]


def test_a_fifo_blocks_nobody(host: Host) -> None:
    (host.root / "job").mkdir()
    os.mkfifo(host.path())
    runs = host.runs()
    assert runs.refresh(0) == ()
    assert reasons(runs) == [("job", "journal_not_a_file")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("mode", "read"), [(0o1777, False), (0o755, True)])
def test_in_a_shared_folder_a_journal_belongs_to_whom_its_folder_does(
    host: Host, mode: int, read: bool
) -> None:
    path = host.write(header() + step(1))
    host.root.chmod(mode)
    os.chown(path, 12345, 12345)
    runs = host.runs()
    assert bool(runs.refresh(0)) is read
    assert reasons(runs) == ([] if read else [("job", "journal_of_another_user")])


def test_a_refused_journal_is_followed_once_it_is_a_file(host: Host) -> None:
    (host.root / "job").mkdir()
    os.mkfifo(host.path())
    runs = host.runs()
    runs.refresh(0)
    host.path().unlink()
    host.write(header())
    host.clock.advance(2.0)
    assert only(runs).phase == "starting"
    assert reasons(runs) == []


def test_of_too_many_ranks_the_rest_is_said_to_be_left_out(host: Host) -> None:
    for rank in range(4):
        host.write(header(), rank=rank)
    runs = host.runs(most_ranks=3)
    assert len(runs.refresh(0)) == 3
    assert reasons(runs) == [("", "too_many_ranks")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_in_a_shared_folder_one_users_runs_leave_room_for_others(host: Host) -> None:
    host.root.chmod(0o3773)
    for number in range(8):
        path = host.write(b"not even a header\n", run=f"many-{number}")
        os.chown(path.parent, 12345, 12345)
        os.chown(path, 12345, 12345)
    runs = host.runs(most_ranks=6)
    runs.refresh(0)
    host.write(header(), run="mine")
    host.clock.advance(2.0)
    assert [state.run for state in runs.refresh(0)] == ["mine"]
    assert ("", "too_many_ranks") in reasons(runs)


def test_two_roots_with_a_run_of_the_same_name_give_one(host: Host, tmp_path: Path) -> None:
    host.write(header() + step(1))
    other = tmp_path / "other"
    (other / "job").mkdir(parents=True)
    (other / "job" / "rank-0.jsonl").write_bytes(header())
    runs = Runs([host.root, other], clock=host.clock, host="here", started=host.processes)
    assert only(runs).folder == host.root / "job"
    assert reasons(runs) == [("job", "run_name_taken")]
