"""Shared memory of processes that were killed, and of those that have nothing to do with the trial."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flyball.runner.leftovers import Leftovers
from flyball.runner.process_tree import descendants, end_all, read_process
from flyball.runner.shared_memory import SHARED_MEMORY

USES = """
import mmap, os, sys
path, how = sys.argv[1:]
descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
os.ftruncate(descriptor, 4096)
if how == "map":
    kept = mmap.mmap(descriptor, 4096)
    os.close(descriptor)
print("ready", flush=True)
sys.stdin.read()
"""
TRACKED = """
import sys
from multiprocessing import shared_memory
memory = shared_memory.SharedMemory(sys.argv[1], create=True, size=4096)
print("ready", flush=True)
sys.stdin.read()
"""
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", code, *arguments]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        kill(process)


@pytest.fixture
def file() -> Iterator[Path]:
    path = SHARED_MEMORY / f"flyball_test_{os.getpid()}_{uuid.uuid4().hex}"
    yield path
    path.unlink(missing_ok=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def is_alive(pid: int) -> bool:
    process = read_process(pid)
    return process is not None and process.state not in "ZX"


@pytest.mark.parametrize("how", ["map", "hold"])
def test_memory_of_a_killed_rank_is_removed_whatever_its_name(start: Start, file: Path, how: str) -> None:
    leftovers = Leftovers(started=0.0)
    rank = start(USES, str(file), how)
    leftovers.observe([rank.pid])
    kill(rank)
    leftovers.clean()
    assert not file.exists()


def test_memory_that_was_there_before_stays(start: Start, file: Path) -> None:
    file.touch()
    leftovers = Leftovers(started=0.0)
    rank = start(USES, str(file), "map")
    leftovers.observe([rank.pid])
    kill(rank)
    leftovers.clean()
    assert file.exists()


def test_memory_that_another_process_uses_or_used_stays(start: Start, file: Path) -> None:
    leftovers = Leftovers(started=0.0)
    neighbour, rank = start(USES, str(file), "map"), start(USES, str(file), "map")
    leftovers.observe([rank.pid])
    kill(rank)
    leftovers.clean()
    assert file.exists(), "a living process maps it"
    kill(neighbour)
    leftovers.clean()
    assert file.exists(), "it was not the trial's alone"


def test_memory_that_another_process_took_up_later_stays(start: Start, file: Path) -> None:
    leftovers = Leftovers(started=0.0)
    rank = start(USES, str(file), "map")
    leftovers.observe([rank.pid])
    start(USES, str(file), "hold")
    kill(rank)
    leftovers.clean()
    assert file.exists()


def test_a_resource_tracker_outlives_those_it_cleans_up_after(start: Start, file: Path) -> None:
    start(TRACKED, file.name)
    assert file.exists()
    family = descendants(os.getpid())
    assert len(family) == 2
    end_all(lambda: [process for process in family if is_alive(process.pid)], grace_seconds=0.0)
    assert not file.exists()
