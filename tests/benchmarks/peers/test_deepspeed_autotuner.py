"""How DeepSpeed's autotuner is started, stopped and read, with a stand-in for its launcher."""

import json
import os
import sys
from pathlib import Path

import pytest
from tests.benchmarks.peers.deepspeed_autotuner import DeepSpeedPeer
from tests.benchmarks.peers.peer_fakes import CONFIG, bench
from tests.benchmarks.peers.registry import PEERS

LAUNCHER = """#!{python}
import json, os, pathlib, shutil, sys
arguments = sys.argv[1:]
config = json.loads(pathlib.Path(arguments[arguments.index("--deepspeed_config") + 1]).read_text())
section = config.pop("autotuning")
folder = pathlib.Path(section["results_dir"], "z1_gas1_tmbspg8")
folder.mkdir(parents=True)
tuned = {{**config, "train_micro_batch_size_per_gpu": 8, "zero_optimization": {{"stage": 1}}}}
(folder / "ds_config.json").write_text(json.dumps({{**tuned, "autotuning": section}}))
(folder / "stderr.log").write_text("")
(folder / "metrics.json").write_text('{{"throughput": 99.5}}')
seen = [arguments, section, config, shutil.which("pdsh"), os.environ.get("LOCAL_SIZE")]
(folder.parent / "called.json").write_text(json.dumps(seen))
{ending}
"""


def launcher(folder: Path, monkeypatch: pytest.MonkeyPatch, ending: str = "") -> None:
    """Put a ``deepspeed`` in front that makes one experiment."""
    binaries = folder / "launchers"
    binaries.mkdir()
    script = binaries / "deepspeed"
    script.write_text(LAUNCHER.format(python=sys.executable, ending=ending))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(binaries), prepend=os.pathsep)


def test_without_tabulate_it_is_a_reason_with_the_mend(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = PEERS["deepspeed-fast"].unavailable(bench(tmp_path, device="cuda"))
    assert "pip install 'deepspeed[autotuning]'" in reason


@pytest.mark.parametrize("fast", [True, False])
def test_it_gets_the_users_command_and_config_with_every_stage(fast, tmp_path, monkeypatch):
    launcher(tmp_path, monkeypatch)
    peer, place = DeepSpeedPeer("deepspeed", fast=fast), tmp_path / "out"
    found = peer.search(bench(tmp_path, device="cuda"), place, seed=0, budget_seconds=60)
    called = json.loads((place / "autotuning_results" / "called.json").read_text())
    arguments, section, config, pdsh, local_size = called
    assert arguments[:2] == ["--autotuning", "tune"]
    assert arguments[-3:-1] == ["train.py", "--deepspeed_config"]
    assert (section["enabled"], section["fast"]) == (True, fast)
    assert config == {**CONFIG, "zero_optimization": {"stage": "all"}}
    assert Path(pdsh).is_relative_to(place)
    assert local_size is None
    assert found.ended == "by itself"
    assert [trial.samples_per_second for trial in found.trials] == [99.5]
    assert found.pick.ds_config["zero_optimization"] == {"stage": 1}
    assert found.pick.ds_config["train_micro_batch_size_per_gpu"] == 8


def test_on_a_cpu_it_is_told_how_many_devices_there_are(tmp_path, monkeypatch):
    launcher(tmp_path, monkeypatch)
    PEERS["deepspeed-fast"].search(bench(tmp_path), tmp_path / "out", seed=0, budget_seconds=60)
    called = json.loads((tmp_path / "out" / "autotuning_results" / "called.json").read_text())
    assert called[-1] == "2"


def test_at_the_end_of_the_budget_it_is_stopped_and_what_it_has_counts(tmp_path, monkeypatch):
    launcher(tmp_path, monkeypatch, ending="import signal\nsignal.pause()")
    found = PEERS["deepspeed-fast"].search(
        bench(tmp_path, device="cuda"), tmp_path / "out", seed=0, budget_seconds=3
    )
    assert found.ended == "budget"
    assert found.pick.ds_config["train_micro_batch_size_per_gpu"] == 8


def test_what_it_says_last_is_the_reason_of_a_row_without_a_pick(tmp_path, monkeypatch):
    binaries = tmp_path / "launchers"
    binaries.mkdir()
    script = binaries / "deepspeed"
    script.write_text(f"#!{sys.executable}\nassert False, 'no gpu is available'\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(binaries), prepend=os.pathsep)
    found = PEERS["deepspeed-fast"].search(
        bench(tmp_path, device="cuda"), tmp_path / "out", seed=0, budget_seconds=60
    )
    assert found.pick is None
    assert found.reason == "AssertionError: no gpu is available"
