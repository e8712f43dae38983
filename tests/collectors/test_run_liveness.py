"""A run is going on while a process that one of its journals names lives."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from flyball.collectors.processes import pid_namespace, process_started
from flyball.collectors.run_liveness import is_running


def journal(folder: Path, rank: int, **header: Any) -> None:
    record = {"kind": "header", "schema": 1, "rank": rank, **header}
    (folder / f"rank-{rank}.jsonl").write_text(json.dumps(record) + "\n")


def named(pid: int, **other: Any) -> dict[str, Any]:
    return {"pid": pid, "started": process_started(pid), "pid_namespace": pid_namespace(), **other}


def test_a_run_is_going_on_while_one_of_its_ranks_lives(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as gone:
        journal(tmp_path, 0, **named(gone.pid))
        assert is_running(tmp_path)
        gone.communicate(b"\n")
    assert not is_running(tmp_path)
    journal(tmp_path, 1, **named(os.getpid()))
    assert is_running(tmp_path)


@pytest.mark.parametrize("other", [{"started": 1.0}, {"pid_namespace": "elsewhere"}, {"pid": None}])
def test_another_process_of_the_same_number_is_not_the_runs(tmp_path: Path, other: dict[str, Any]) -> None:
    journal(tmp_path, 0, **{**named(os.getpid()), **other})
    assert not is_running(tmp_path)


def test_a_folder_that_is_gone_runs_no_more(tmp_path: Path) -> None:
    assert not is_running(tmp_path / "gone")
