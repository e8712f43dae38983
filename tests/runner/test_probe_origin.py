"""How a run was started, as its journal says: real processes, a stand-in for DeepSpeed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.runner.test_probe_install import TRAIN, Run, journal, run

from flyball.collectors.run_origin import MOST_CHARACTERS, MOST_TOKENS
from flyball.runner.probe import origin
from flyball.runner.watched_folder import make_watched_folder

__all__ = ["run"]

START = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-u', *sys.argv[1:]]))"


def header(tmp_path: Path) -> dict[str, Any]:
    found = journal(tmp_path).header
    assert found is not None
    return dict(found)


def test_a_script_by_itself_has_a_command_a_folder_and_no_launcher(run: Run, tmp_path: Path) -> None:
    done = run("import os; os.chdir('/')\n" + TRAIN, "--lr", "1", "--hf_token", "s3cret", purpose="run")
    assert (done.returncode, done.stderr) == (0, "")
    found = header(tmp_path)
    user = tmp_path / "user"
    assert found["command"] == [sys.executable, str(user / "script.py"), "--lr", "1", "--hf_token", "***"]
    assert found["working_directory"] == str(user)
    assert found["launcher"] is None
    assert "s3cret" not in (tmp_path / "trial" / "rank-0.jsonl").read_text()


@pytest.mark.parametrize("name", ["deepspeed", "torchrun", "accelerate"])
def test_the_outermost_launcher_is_named_as_the_user_wrote_it(run: Run, tmp_path: Path, name: str) -> None:
    user = tmp_path / "user"
    user.mkdir()
    (user / "train.py").write_text(TRAIN)
    (user / "wrapper.py").write_text(START)
    done = run(START, str(user / "wrapper.py"), str(user / "train.py"), "--lr=1", name=name, purpose="run")
    assert (done.returncode, done.stderr) == (0, "")
    found = header(tmp_path)
    script = str(user / "train.py")
    assert found["launcher"] == [str(user / name), str(user / "wrapper.py"), script, "--lr=1"]
    assert found["command"] == [sys.executable, "-u", script, "--lr=1"]


def test_a_shell_ends_the_search(run: Run, tmp_path: Path) -> None:
    user = tmp_path / "user"
    user.mkdir()
    (user / "train.py").write_text(TRAIN)
    through = "import subprocess, sys; subprocess.call(['sh', '-c', f'{sys.executable} train.py; true'])"
    assert run(through, name="deepspeed", purpose="run").returncode == 0
    assert header(tmp_path)["launcher"] is None


def test_what_flyball_run_was_given_is_preferred(run: Run, tmp_path: Path) -> None:
    given = ["deepspeed", "--num_gpus", "2", "train.py"]
    assert run(TRAIN, purpose="run", command=given, working_directory="/data/job").returncode == 0
    found = header(tmp_path)
    assert (found["launcher"], found["working_directory"]) == (given, "/data/job")


def test_flyball_run_writes_the_command_without_its_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = make_watched_folder(tmp_path / "runs", "job", ["deepspeed", "train.py", "--hf_token=s3cret"])
    settings = json.loads((folder.path / "settings.json").read_text())
    assert settings["command"] == ["deepspeed", "train.py", "--hf_token=***"]
    assert settings["working_directory"] == str(tmp_path)


def test_a_trial_tells_none(run: Run, tmp_path: Path) -> None:
    assert run(TRAIN).returncode == 0
    assert not header(tmp_path).keys() & {"command", "launcher", "working_directory"}


@pytest.mark.parametrize("arguments", [["x"] * MOST_TOKENS, ["x" * MOST_CHARACTERS]], ids=["words", "length"])
def test_half_a_command_is_none(run: Run, tmp_path: Path, arguments: list[str]) -> None:
    done = run(TRAIN, *arguments, purpose="run")
    assert (done.returncode, done.stderr) == (0, "")
    assert header(tmp_path)["command"] is None


def test_the_probe_writes_no_more_than_the_reader_takes() -> None:
    assert (origin.MOST_TOKENS, origin.MOST_CHARACTERS) == (MOST_TOKENS, MOST_CHARACTERS)


def test_a_process_that_cannot_be_looked_at_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    monkeypatch.setattr("os.getppid", lambda: ended.pid)
    assert origin.launcher_command() == []
