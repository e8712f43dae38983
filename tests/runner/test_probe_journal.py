import errno
import os
from pathlib import Path

import pytest
from tests.runner.probe_fakes import read

from flyball.runner.probe.journal import Journal


def test_what_a_killed_writer_left_torn_is_skipped_and_swallows_nothing(tmp_path: Path) -> None:
    (tmp_path / "rank-3.jsonl").write_bytes(b'{"kind":"step","step":1}\n{"kind":"st')
    journal = Journal(str(tmp_path))
    journal.open(3)
    journal.record("end", steps=1, reason="exit")
    journal.close()
    found = read(tmp_path, 3)
    assert [record["kind"] for record in found.records] == ["step", "end"]
    assert found.torn_lines == 1


def test_a_full_disk_switches_the_journal_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path))
    journal.open(0)
    attempts = []

    def full(descriptor: int, line: bytes) -> int:
        attempts.append(line)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("flyball.runner.probe.journal.os.write", full)
    journal.record("end", steps=1)
    journal.record("end", steps=2)
    assert len(attempts) == 1
    journal.close()


def test_a_folder_that_cannot_be_made_is_no_fault_of_the_workload(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(str(tmp_path / "file" / "trial"))
    journal.open(0)
    journal.record("end", steps=1)
    assert journal.broken


def test_a_forked_child_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path))
    journal.open(0)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        journal.record("end", steps=1, reason="child")
    journal.record("end", steps=1, reason="parent")
    journal.close()
    assert [record["reason"] for record in read(tmp_path).records] == ["parent"]
