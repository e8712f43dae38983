"""The folder that DeepSpeed's autotuner leaves, finished and cut off."""

import json
import os
from pathlib import Path

import pytest
from tests.benchmarks.peers.base import CUT_OFF, FAILED, MEASURED, OUT_OF_MEMORY
from tests.benchmarks.peers.deepspeed_results import read_experiments, read_pick

TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 3, in <module>\n'
MEMORY = f"{TRACEBACK}torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.\n"


def experiment(
    results: Path, name: str, *, at: float, micro: int, throughput: float | None = None, stderr: str = ""
) -> None:
    """One experiment's folder as the scheduler writes it."""
    folder = results / name
    folder.mkdir(parents=True)
    config = {
        "train_micro_batch_size_per_gpu": micro,
        "gradient_accumulation_steps": 1,
        "train_batch_size": micro,
        "zero_optimization": {"stage": 0},
        "autotuning": {"enabled": True, "metric_path": str(folder / "metrics.json")},
    }
    files = {"ds_config.json": json.dumps(config), "stderr.log": stderr, "stdout.log": "", "cmd.txt": ""}
    if throughput is not None:
        files["metrics.json"] = json.dumps({"throughput": throughput, "latency": 1.0, "FLOPS_per_gpu": 1.0})
    for file, text in files.items():
        (folder / file).write_text(text)
        os.utime(folder / file, (at, at))


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "autotuning_results"
    experiment(folder, "profile_model_info", at=100, micro=1)
    experiment(folder, "z0_gas1_tmbspg8", at=110, micro=8, throughput=200.0)
    experiment(folder, "z0_gas1_tmbspg512", at=120, micro=512, stderr=MEMORY)
    experiment(folder, "z0_gas1_tmbspg64", at=130, micro=64, throughput=419.5)
    return folder


def test_experiments_stand_in_order_without_the_profile(results):
    found = read_experiments(results)
    assert [each.name for each in found] == ["z0_gas1_tmbspg8", "z0_gas1_tmbspg512", "z0_gas1_tmbspg64"]
    assert [each.outcome for each in found] == [MEASURED, OUT_OF_MEMORY, MEASURED]
    assert [each.throughput for each in found] == [200.0, None, 419.5]


def test_an_experiment_becomes_a_trial_of_the_search(results):
    trial = read_experiments(results)[2].trial(began=90.0)
    assert (trial.at_seconds, trial.samples_per_second) == (40.0, 419.5)
    assert trial.settings["train_micro_batch_size_per_gpu"] == 64
    assert trial.settings["stage"] == 0


def test_another_exception_is_a_failure_with_its_text(results):
    experiment(results, "z1_gas1_tmbspg8", at=140, micro=8, stderr=f"{TRACEBACK}ValueError: bad bucket\n")
    last = read_experiments(results)[-1]
    assert (last.outcome, last.reason) == (FAILED, "ValueError: bad bucket")


def test_one_that_was_running_at_the_end_is_cut_off(results):
    experiment(results, "z1_gas1_tmbspg8", at=140, micro=8, stderr="loading\n")
    assert read_experiments(results)[-1].outcome == CUT_OFF


def test_a_torn_metrics_file_is_no_result(results):
    experiment(results, "z1_gas1_tmbspg8", at=140, micro=8)
    (results / "z1_gas1_tmbspg8" / "metrics.json").write_text('{"throughput": 9')
    assert read_experiments(results)[-1].throughput is None


def test_the_optimal_config_is_the_pick(results):
    (results / "ds_config_optimal.json").write_text('{"train_micro_batch_size_per_gpu": 64}')
    assert read_pick(results) == {"train_micro_batch_size_per_gpu": 64}


def test_cut_off_it_would_pick_the_best_so_far_without_its_own_section(results):
    pick = read_pick(results)
    assert pick["train_micro_batch_size_per_gpu"] == 64
    assert "autotuning" not in pick


def test_nothing_measured_is_no_pick(tmp_path):
    experiment(tmp_path, "z0_gas1_tmbspg8", at=110, micro=8, stderr=MEMORY)
    assert read_pick(tmp_path) is None
    assert read_pick(tmp_path / "never made") is None
    assert read_experiments(tmp_path / "never made") == []
