from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.collectors.journal_fakes import FakeClock

from flyball.collectors.nvml_inventory import GpuProcess
from flyball.collectors.run_state import RankState
from flyball.collectors.unprobed import UnprobedProcesses

RANKED = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}


def add(proc: Path, pid: int, *, parent: int = 1, environment: Mapping[str, str], torch: bool = True) -> None:
    folder = proc / str(pid)
    folder.mkdir()
    (folder / "environ").write_bytes(
        b"\0".join(f"{name}={value}".encode() for name, value in environment.items())
    )
    (folder / "maps").write_bytes(
        b"7f00-7f01 r-xp /lib/libtorch_cpu.so\n" if torch else b"7f00-7f01 /lib/libc.so\n"
    )
    (folder / "stat").write_bytes(f"{pid} (python (x)) S {parent} {'1 ' * 48}".encode())


def find(proc: Path, *processes: GpuProcess, journals: tuple[int, ...] = ()) -> list[tuple[int, str, str]]:
    finder = UnprobedProcesses(
        clock=FakeClock(), gpu_processes=lambda: processes, gpus=lambda: {"GPU-a": "0"}, proc=proc
    )
    ranks = [RankState(run="job", rank=0, folder=proc, pid=pid) for pid in journals]
    assert finder.gpu_indices() == {}
    found = [(each.pid, each.rank, each.uuid) for each in finder.find(ranks)]
    assert finder.gpu_indices() == {"GPU-a": "0"}
    return found


def test_a_rank_without_a_journal_is_found(tmp_path: Path) -> None:
    add(tmp_path, 50, environment=RANKED)
    add(tmp_path, 51, environment=RANKED, torch=False)
    add(tmp_path, 52, environment={"HOME": "/"})
    assert find(tmp_path) == [(50, "1", "")]


def test_the_helpers_of_a_rank_are_no_ranks(tmp_path: Path) -> None:
    add(tmp_path, 50, environment=RANKED)
    add(tmp_path, 60, parent=50, environment=RANKED)
    assert find(tmp_path) == [(50, "1", "")]
    assert find(tmp_path, journals=(50,)) == []


def test_a_process_on_a_gpu_is_found_whoever_started_it(tmp_path: Path) -> None:
    add(tmp_path, 50, environment={})
    assert find(tmp_path, GpuProcess(pid=50, gpu="0", uuid="GPU-a")) == [(50, "", "GPU-a")]
    assert find(tmp_path, GpuProcess(pid=50, gpu="0", uuid="GPU-a"), journals=(50,)) == []


@pytest.mark.parametrize(("installed", "expected"), [(True, []), (False, [(50, "1", "")])])
def test_one_that_has_the_probe_and_no_engine_yet_is_not_named(
    tmp_path: Path, installed: bool, expected: list[tuple[int, str, str]]
) -> None:
    proc, probe = tmp_path / "proc", tmp_path / "probe"
    proc.mkdir()
    (probe / "site").mkdir(parents=True)
    (probe / "site" / "sitecustomize.py").touch()
    if installed:
        (probe / "settings.json").touch()
    add(proc, 50, environment={**RANKED, "PYTHONPATH": f"/elsewhere:{probe / 'site'}"})
    assert find(proc) == expected


def test_one_that_ended_since_the_last_look_is_not_named(tmp_path: Path) -> None:
    assert find(tmp_path, GpuProcess(pid=50, gpu="0", uuid="GPU-a")) == []
