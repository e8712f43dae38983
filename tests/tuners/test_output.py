import errno
import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.tuners.recommendation_fakes import AFTER, BEFORE, kept, recommended
from tests.tuners.statistics_fakes import measurement, trial

from flyball.errors import StorageFailed
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.results.output import (
    ShellCommand,
    measurement_from_json,
    measurement_json,
    write_results,
    write_trial_metrics,
    write_whole,
)

USER_CONFIG = b'{\r\n  "train_micro_batch_size_per_gpu": 1 }   '


def write(folder: Path, recommendation, *, user_config=USER_CONFIG) -> None:
    command = ShellCommand(tokens=["deepspeed", "train.py"], cwd=folder)
    write_results(
        folder,
        recommendation=recommendation,
        command=command,
        user_config=user_config,
        summary="s\n",
        report="r",
    )


def test_all_files_of_a_recommendation(tmp_path):
    write(tmp_path / "new", recommended())
    names = {"recommendation.json", "ds_config_optimal.json", "cmd_optimal.txt", "summary.txt", "report.html"}
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    assert json.loads((tmp_path / "new" / "ds_config_optimal.json").read_text()) == AFTER
    assert json.loads((tmp_path / "new" / "recommendation.json").read_text())["verdict"] == "recommended"


def test_on_keep_the_users_config_stays_byte_for_byte(tmp_path):
    write(tmp_path, kept())
    assert (tmp_path / "ds_config_optimal.json").read_bytes() == USER_CONFIG


def test_on_keep_of_a_config_held_by_the_script_its_mapping_is_written(tmp_path):
    write(tmp_path, kept(), user_config=None)
    assert json.loads((tmp_path / "ds_config_optimal.json").read_text()) == BEFORE


def test_the_command_runs_as_it_stands_from_any_folder(tmp_path):
    folder = tmp_path / "it's here"
    folder.mkdir()
    script = 'import os, sys; print([os.getcwd(), sys.argv[1:], os.environ["A"], os.environ["SEARCH"]])'
    command = ShellCommand(
        tokens=["python3", "-c", script, "$HOME and `id`"],
        cwd=folder,
        environment={"A": "x y'z\"$"},
        prepended={"SEARCH": "/first dir"},
    )
    path = tmp_path / "cmd_optimal.txt"
    path.write_text(command.script())
    for own, expected in ((None, "/first dir"), ("/mine", "/first dir:/mine")):
        environment = {**os.environ, **({"SEARCH": own} if own else {})}
        ran = subprocess.run(
            ["sh", path, "more"], cwd="/", env=environment, capture_output=True, text=True, check=True
        )
        seen = [str(folder), ["$HOME and `id`", "more"], "x y'z\"$", expected]
        assert ran.stdout.strip() == str(seen)


def test_a_full_disk_is_said_as_one_and_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "recommendation.json"
    path.write_text("old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        StorageFailed, match=r"recommendation\.json: cannot write: No space left on device; .*--resume"
    ):
        write_whole(path, b"new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_the_way_of_a_folder_is_a_storage_failure(tmp_path):
    (tmp_path / "trials").write_text("")
    with pytest.raises(StorageFailed):
        write_whole(tmp_path / "trials" / "1" / "metrics.json", b"")


def test_files_get_the_rights_that_the_users_mask_gives(tmp_path):
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_metrics_of_a_trial(tmp_path):
    write_trial_metrics(tmp_path, trial(3, stage=2))
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["outcome"], metrics["assignment"]) == ("completed", {"stage": 2})
    assert metrics["measurement"]["samples_per_second"]["point"] == 100


def test_metrics_of_a_trial_that_failed(tmp_path):
    failed = trial(rate=None, outcome=OutcomeKind.OUT_OF_MEMORY, reason="CUDA out of memory")
    write_trial_metrics(tmp_path, failed)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["outcome"], metrics["reason"]) == ("out_of_memory", "CUDA out of memory")
    assert metrics["measurement"] is None


def test_a_measurement_comes_back_from_its_json():
    made = measurement(losses=((8.0, 2.0), (16.0, 1.5)), witnesses={"compile": {"graphs": 3}}, fed_batch=4.0)
    stored = json.loads(json.dumps(measurement_json(made)))
    assert measurement_from_json({**stored, "of_a_newer_version": 1}) == made


def test_a_number_that_json_cannot_hold_becomes_null(tmp_path):
    made = measurement(witnesses={"powersgd": {"error": float("nan")}})
    assert measurement_json(made)["witnesses"] == {"powersgd": {"error": None}}
