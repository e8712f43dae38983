"""Whole studies of real jobs that are not plain engines: transformers' Trainer, and a pipeline."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import flyball.runner

pytestmark = pytest.mark.live

WORKLOAD = Path(flyball.runner.__file__).parent / "workload"
BINARIES = Path(sys.executable).parent


def study(folder: Path, space: str, command: list[str]) -> dict[int, dict[str, Any]]:
    """Run a short study; return each trial's metrics.json with its effective DeepSpeed config, by number."""
    (folder / "job").mkdir()
    (folder / "space.yaml").write_text(space)
    results = folder / "results"
    options = ["--space", "../space.yaml", "--trials", "2", "--budget", "240s", "--seed", "1"]
    environment = {
        **os.environ,
        "PATH": f"{BINARIES}{os.pathsep}{os.environ['PATH']}",
        "FLYBALL_STATE_DIR": str(folder / "state"),
        "DS_ACCELERATOR": "cpu",
    }
    done = subprocess.run(
        [str(BINARIES / "autotune"), *options, "--output", str(results), "--", *command],
        cwd=folder / "job",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list((folder / "job").iterdir()) == [], "the user's folder is as it was"
    trials = {}
    for path in results.glob("trials/*/metrics.json"):
        journal = path.parent / "rank-0.jsonl"
        header = next(json.loads(line) for line in journal.read_text().splitlines() if '"header"' in line)
        trials[int(path.parent.name)] = {**json.loads(path.read_text()), "header": header}
    return trials


def test_a_trainer_is_tuned_by_the_options_that_carry_its_batch(tmp_path: Path) -> None:
    command = ["torchrun", "--nproc_per_node", "2", str(WORKLOAD / "trainer.py"), "--use_cpu"]
    command += ["--deepspeed", str(WORKLOAD / "ds_config_trainer.json"), "--output_dir", "out"]
    command += ["--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "4"]
    command += ["--max_steps", "5000", "--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "1"]
    trials = study(tmp_path, "knobs:\n  micro_batch: [2, 8]\n", command)
    assert {trial["outcome"] for trial in trials.values()} == {"completed"}
    assert trials[0]["launcher"] == "cold"
    assert trials[1]["launcher"] == "warm", trials[1]["notes"]
    batches = [trials[number]["header"] for number in (0, 1)]
    assert [(each["micro_batch"], each["accumulation"]) for each in batches] == [(2, 4), (8, 1)]
    found = json.loads((tmp_path / "results" / "recommendation.json").read_text())["explanation"]
    assert (found["cost"]["devices"], found["cost"]["unit"]) == (2, "rank hours")
    seconds = sum(trial["total_seconds"] for trial in trials.values())
    assert found["cost"]["wall_hours"] * 3600 >= 0.99 * seconds
    assert found["importance"]["reason"].startswith("not enough trials: 2 configurations")
    assert "outside_the_space" in {group["because"] for group in found["not_tried"]}


def test_a_pipeline_is_tuned_by_its_chunks(tmp_path: Path) -> None:
    command = ["deepspeed", "--num_gpus", "2", str(WORKLOAD / "train_pipeline.py"), "--hidden-size", "32"]
    command += ["--layers", "2", "--experts", "2", "--sequence-length", "16"]
    command += ["--deepspeed", "--deepspeed_config", str(WORKLOAD / "ds_config_pipeline.json")]
    trials = study(tmp_path, "knobs:\n  pipeline_chunks: [2, 4, 8]\n", command)
    assert {trial["outcome"] for trial in trials.values()} == {"completed"}
    assert trials[1]["launcher"] == "warm", trials[1]["notes"]
    searched = [trials[number]["header"] for number in (1, 2)]
    chunks = {each["accumulation"]: each["micro_batch"] for each in searched}
    assert chunks == {4: 4, 8: 2}
    assert {each["pipeline_stages"] for each in searched} == {2}
