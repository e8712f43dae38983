"""The bench with a real DeepSpeed job: two trials of a small GPT, then each configuration once more."""

import json
import os

import pytest
from tests.benchmarks.peers.__main__ import main
from tests.benchmarks.peers.workloads import GPT

CONFIG = {
    "train_batch_size": 4,
    "train_micro_batch_size_per_gpu": 2,
    "bf16": {"enabled": True},
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 0},
}
SMALL = "--layers 1 --width 32 --heads 2 --sequence 32 --vocabulary 256"


@pytest.mark.live
@pytest.mark.timeout(900)
def test_two_trials_of_random_search_and_a_round_of_what_it_picked(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.environ["PATH"])  # the bench puts the launchers in front
    config, space, out = tmp_path / "ds_config.json", tmp_path / "space.yaml", tmp_path / "out"
    config.write_text(json.dumps(CONFIG))
    space.write_text("knobs:\n  micro_batch: [2, 4]\n")
    job = ["--script", str(GPT / "train.py"), "--config", str(config), "--arguments", SMALL, "--ranks", "1"]
    short = [
        "--steps",
        "1:3",
        "--final-steps",
        "1:3",
        "--rounds",
        "1",
        "--budget",
        "10m",
        "--space",
        str(space),
    ]
    assert main(["--peers", "random", *job, *short, "--out", str(out)]) == 0
    found = json.loads((out / "results.json").read_text())
    search = found["searches"][0]
    assert [trial["outcome"] for trial in search["trials"]] == ["measured", "measured"]
    assert {trial["settings"]["micro_batch"] for trial in search["trials"]} == {2, 4}
    assert search["best_so_far"][0][1] == search["trials"][0]["samples_per_second"]
    assert [row["name"] for row in found["remeasured"]] == ["yours", "random"]
    assert all(rate > 0 for row in found["remeasured"] for rate in row["rates"])
    handed = (out / "random-0" / "recommended.sh").read_text()
    assert str(out / "random-0" / "recommended.json") in handed
    assert "random" in (out / "results.md").read_text()
    assert (out / "best_so_far.svg").read_text().startswith("<svg")
