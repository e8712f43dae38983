"""A whole study of a real job that saves to ./ckpt and resumes from it: every file is as it was before."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).parent / "scripts" / "saves_and_resumes.py"
CONFIG = {
    "train_batch_size": 32,
    "train_micro_batch_size_per_gpu": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}
SPACE = "knobs:\n  micro_batch: [4, 1]\n"
"""The other one is slower, so that the study ends with its search: no run is another kind than these."""


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_checkpoints_are_byte_identical_after_a_study(tmp_path: Path) -> None:
    job = tmp_path / "job"
    (job / "ckpt" / "step0").mkdir(parents=True)
    (job / "ckpt" / "latest").write_text("step0")
    (job / "ckpt" / "step0" / "mp_rank_00_model_states.pt").write_bytes(b"months of training")
    shutil.copyfile(SCRIPT, job / "train.py")
    (job / "ds.json").write_text(json.dumps(CONFIG))
    (job / "space.yaml").write_text(SPACE)
    before = contents(job)
    results = tmp_path / "results"
    options = [
        "--space",
        "space.yaml",
        "--trials",
        "1",
        "--budget",
        "240s",
        "--output",
        str(results),
        "--seed",
        "1",
    ]
    command = ["deepspeed", "--num_gpus", "2", "train.py", "--deepspeed_config", "ds.json"]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "FLYBALL_STATE_DIR": str(tmp_path / "state"),
        "DS_ACCELERATOR": "cpu",
    }
    done = subprocess.run(
        [str(Path(sys.executable).parent / "autotune"), *options, "--", *command],
        cwd=job,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert contents(job) == before
    found = json.loads((results / "recommendation.json").read_text())
    assert found["trials"] == {"completed": sum(found["trials"].values())}
    assert sum(found["trials"].values()) >= 2
    journal = (results / "trials" / "0" / "rank-0.jsonl").read_text()
    assert '"kind":"redirect"' in journal
    assert not list((results / "trials").glob("*/output/checkpoints"))
