import sys
from dataclasses import replace
from pathlib import Path

import pytest

from flyball.runner.base import TrialRequest
from flyball.runner.learned import Learned, UnforkableError, Worker, learn


def learned(*environments: dict[str, str]) -> Learned:
    workers = {
        rank: Worker(
            argv=(sys.executable, "train.py"), environment=environment, cwd="/", affinity=(0,), threads=1
        )
        for rank, environment in enumerate(environments)
    }
    header = {"world_size": len(environments), "modules": ["json"]}
    request = TrialRequest(directory=Path("/trial"), command=[sys.executable, "train.py"], ds_config={})
    return learn(request, workers, header, 1.0)


def test_ranks_that_a_script_forked_itself_run_cold() -> None:
    # /proc shows the environment that their common parent was started with
    with pytest.raises(UnforkableError, match="the script starts its own ranks"):
        learned({"WORLD_SIZE": "2"}, {"WORLD_SIZE": "2"})
    with pytest.raises(UnforkableError, match="rank 1"):
        learned({"RANK": "0"}, {"RANK": "0"})


def test_ranks_that_a_launcher_started_are_forked() -> None:
    assert sorted(learned({"RANK": "0"}, {"RANK": "1"}).workers) == [0, 1]
    assert sorted(learned({}).workers) == [0]


@pytest.mark.parametrize("name", ["PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF"])
def test_other_allocator_settings_are_imported_by_a_server_of_their_own(name: str) -> None:
    """torch reads them once: a process that has them is of no use for a trial that differs in them."""
    known = learned({name: "max_split_size_mb:64"})
    own = replace(known.request, directory=Path("/other"))
    merged = "max_split_size_mb:64,expandable_segments:True"
    moved = replace(own, environment={name: merged})
    assert known.import_key(moved) != known.import_key(own) == known.import_key(known.request)
    assert known.import_environment(moved)[name] == merged
    assert known.import_environment(own)[name] == "max_split_size_mb:64"
    (rank,) = known.plan(moved, port=1, marker="m", cwd=Path("/"))
    assert rank["environment"][name] == merged
