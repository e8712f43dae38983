"""kill -9 of whoever owns a trial leaves nothing: no process, no shared memory, no build lock."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.runner.kept_process import clear_orphans
from flyball.runner.process_tree import descendants, is_orphaned, marked, read_process

pytestmark = pytest.mark.live

SCRIPTS = Path(__file__).parent / "scripts"


def becomes_true(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_gone(pid: int) -> bool:
    process = read_process(pid)
    return process is None or process.state in "ZX"


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> subprocess.Popen[str]:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "torch_extensions"))
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    process = subprocess.Popen(
        [sys.executable, str(SCRIPTS / "owner.py"), str(tmp_path / "0"), str(SCRIPTS / "pretend.py")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "training\n"
    return process


def finish(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.wait()
    if owner.stdout is not None:
        owner.stdout.close()


def test_the_reaper_ends_the_trial_of_a_killed_owner(owner: subprocess.Popen[str], tmp_path: Path) -> None:
    pids = [process.pid for process in descendants(owner.pid)]
    grandchild = int((tmp_path / "0" / "pid").read_text())
    assert grandchild in pids
    trial = marked(lambda value: value.startswith(f"{owner.pid}."))
    environ = Path(f"/proc/{trial[0].pid}/environ").read_bytes()
    port = next(e.partition(b"=")[2] for e in environ.split(b"\0") if e.startswith(b"MASTER_PORT=")).decode()
    buffer = Path(f"/dev/shm/deepspeed_allreduce_buffer_{os.getuid()}_127.0.0.1_{port}_0")
    foreign = Path(f"/dev/shm/deepspeed_allreduce_buffer_{os.getuid()}_127.0.0.1_{port}0_0")
    lock = tmp_path / "torch_extensions" / "an_op" / "lock"
    lock.parent.mkdir(parents=True)
    for path in (buffer, foreign, lock):
        path.touch()
    try:
        finish(owner)
        assert becomes_true(lambda: all(is_gone(pid) for pid in pids))
        assert not buffer.exists()
        assert not lock.exists()
        assert foreign.exists(), "only exact names are removed"
    finally:
        foreign.unlink(missing_ok=True)
        buffer.unlink(missing_ok=True)


def test_what_survives_owner_and_reaper_is_found_by_its_marker(
    owner: subprocess.Popen[str], tmp_path: Path
) -> None:
    reaper = next(process for process in descendants(owner.pid) if process.parent == owner.pid)
    grandchild = int((tmp_path / "0" / "pid").read_text())
    os.kill(reaper.pid, signal.SIGSTOP)  # it can do nothing when its owner goes
    finish(owner)
    os.kill(reaper.pid, signal.SIGKILL)
    assert becomes_true(lambda: is_gone(reaper.pid))
    assert not is_gone(grandchild)
    assert grandchild in [process.pid for process in marked(is_orphaned)]
    assert grandchild in clear_orphans()
    assert becomes_true(lambda: is_gone(grandchild))
