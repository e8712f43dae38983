import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.tuners.fake_job import FakeClock, FakeLauncher, RecordingObserver

from flyball.runner.command import parse_command
from flyball.runner.trial_folder import probe_settings
from flyball.tuners.base import Configuration, Phase
from flyball.tuners.interruption import Interruption
from flyball.tuners.results.conclusion import carried_by_probe
from flyball.tuners.trials.trial_runner import LARGEST_KEPT_BYTES, Run, TrialRunner, remove_checkpoints

CONFIG = {"train_micro_batch_size_per_gpu": 2, "train_batch_size": 4}


def runner(folder: Path, **settings: Any) -> TrialRunner:
    """Runs a script whose second engine trains."""
    (folder / "train.py").write_text("import deepspeed\n")
    launcher = FakeLauncher(lambda config, environment: 100.0, FakeClock(), engine=1)
    command = ("python", "train.py", "--deepspeed_config", "ds.json")
    return TrialRunner(
        command=parse_command(command, config=None, maps={}, cwd=folder),
        launcher=launcher,
        cold=launcher,
        directory=folder / "out",
        observer=RecordingObserver(),
        interruption=Interruption(),
        **settings,
    )


def engines_asked_for(runs: TrialRunner) -> list[int]:
    """Make two runs; return the engine that each one's configuration is meant for."""
    configuration = Configuration(assignment={}, ds_config=CONFIG)
    for number in range(2):
        assert runs.run(Run(number=number, phase=Phase.BASELINE, configuration=configuration)).measurement
    assert isinstance(runs.launcher, FakeLauncher)
    return [probe_settings(request)["substitute_engine"] for request in runs.launcher.requests]


def test_what_the_probe_carries_is_for_the_engine_that_was_seen_training(tmp_path: Path) -> None:
    runs = runner(tmp_path)
    assert engines_asked_for(runs) == [0, 1]
    assert runs.header is not None
    assert runs.header["engine"] == 1


def test_a_config_that_was_given_from_the_start_stays_with_its_engine(tmp_path: Path) -> None:
    assert engines_asked_for(runner(tmp_path, substitute=True)) == [0, 0]


@pytest.mark.parametrize("engine", [0, 1])
def test_the_optimal_command_carries_it_to_the_same_engine(tmp_path: Path, engine: int) -> None:
    job = SimpleNamespace(command=SimpleNamespace(config_place="probe"))
    study = SimpleNamespace(job=job, output=tmp_path, name="study", engine=engine)
    carried_by_probe(study, Configuration(assignment={}, ds_config=CONFIG))  # type: ignore[arg-type]
    settings = json.loads((tmp_path / "probe" / "settings.json").read_text())
    assert (settings["substitute_engine"], settings["substitute_config"]) == (engine, CONFIG)


def test_a_trials_checkpoints_and_models_are_removed_and_its_logs_kept(tmp_path: Path) -> None:
    for folder in ("checkpoints/ckpt", "run/checkpoint-10", "global_step5"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "part").write_bytes(b"weights")
    (tmp_path / "log.txt").write_text("kept")
    with (tmp_path / "run" / "model.safetensors").open("wb") as file:
        file.truncate(LARGEST_KEPT_BYTES + 1)
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.txt"]
