"""transformers' Trainer evaluates and saves by the bare module: none of it is a step's time.

In a trial it neither resumes nor uploads.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.collectors.journal import RankJournal, read_folder
from flyball.runner.ports import free_port
from flyball.runner.probe_install import install

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).parent / "scripts" / "trains_by_trainer.py"
SLOW_SECONDS = 1.0
CONFIG = {
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "optimizer": {"type": "AdamW", "params": {"lr": "auto", "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> RankJournal:
    """What one run of the script left."""
    folder = tmp_path_factory.mktemp("trainer")
    (folder / "ds.json").write_text(json.dumps(CONFIG))
    trial = folder / "trial"
    settings: dict[str, Any] = {
        "purpose": "trial", "directory": str(trial), "checkpoint_directory": str(trial / "checkpoints"),
        "guard_writes": True, "max_records_per_second": 1e9, "budget_ratio": 1e9,
    }  # fmt: skip
    environment = {
        **os.environ,
        **install(folder / "probe", settings),
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    arguments = ["--deepspeed_config", str(folder / "ds.json"), str(trial / "out"), "user/checkpoint-5"]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return read_folder(trial)[0]


def test_the_steps_hold_neither_evaluation_nor_saving(journal: RankJournal) -> None:
    assert journal.of_kind("probe_off") == []
    steps = journal.steps()
    assert [step["samples"] for step in steps] == [2] * 6
    # The fourth step follows an evaluation and a checkpoint.
    assert steps[3]["seconds"] < SLOW_SECONDS


def test_evaluations_and_checkpoints_are_in_the_journal(journal: RankJournal) -> None:
    ends = [record for record in journal.of_kind("pause") if record["edge"] == "end"]
    evaluated = [record["seconds"] for record in ends if record["phase"] == "evaluating"]
    saved = [record["seconds"] for record in ends if record["phase"] == "checkpointing"]
    assert evaluated
    assert len(saved) == 2
    assert min(evaluated + saved) > SLOW_SECONDS * 0.9


def test_it_started_anew(journal: RankJournal) -> None:
    redirects = {record["what"]: record["path"] for record in journal.of_kind("redirect")}
    assert redirects["resume_from_checkpoint"] == "user/checkpoint-5"
    assert not any(what.startswith("huggingface_hub") for what in redirects)
    assert journal.last("end")["steps"] == 6  # type: ignore[index]
