"""``flyball probe install``: a folder to load, and the environment that loads it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from flyball.agent.cli import run
from flyball.runner.probe.settings import read_settings


@pytest.mark.parametrize("own", [None, "/mine"])
def test_the_printed_environment_puts_the_probe_in_front(
    own: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target, journals = tmp_path / "a probe", tmp_path / "runs" / "job-1"
    assert run(["probe", "install", str(target), "--run-dir", str(journals)]) == 0
    lines = capsys.readouterr().out
    assert journals.is_dir()
    environment = {"PATH": os.environ["PATH"]} | ({"PYTHONPATH": own} if own else {})
    shell = subprocess.run(
        ["sh", "-c", f'{lines}\nprintf %s "$PYTHONPATH"'],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *rest = shell.stdout.split(":")
    assert (Path(first) / "sitecustomize.py").is_file()
    assert rest == ([own] if own else [])
    settings = json.loads((target / "settings.json").read_text(encoding="utf-8"))
    assert settings["purpose"] == "run"
    assert settings["directory"] == str(journals)


def test_the_journals_go_to_the_state_folder_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    assert run(["probe", "install", str(tmp_path / "here")]) == 0
    assert (tmp_path / "state" / "runs" / "here").is_dir()


@pytest.mark.parametrize(("options", "steps"), [([], 0), (["--ping-every-steps", "50"], 50)])
def test_the_ping_is_off_unless_asked_for(options: list[str], steps: int, tmp_path: Path) -> None:
    target = tmp_path / "here"
    assert run(["probe", "install", str(target), "--run-dir", str(tmp_path / "runs"), *options]) == 0
    assert read_settings(str(target / "settings.json")).ping_every_steps == steps


@pytest.mark.parametrize("value", ["-1", "often"])
def test_a_ping_interval_that_is_none_is_refused(
    value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["probe", "install", str(tmp_path / "here"), "--ping-every-steps", value]) == 2
    assert capsys.readouterr().err.startswith("error: --ping-every-steps: ")


@pytest.mark.parametrize(
    ("target", "place"), [("a-file", "DIR: "), ("a-file/below", "DIR: "), ("/proc/x", "/proc/x")]
)
def test_a_folder_that_cannot_be_made_is_one_line(
    target: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "a-file").touch()
    assert run(["probe", "install", target]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith(f"error: {place}")
    assert shown.err.count("\n") == 1
    assert shown.out == ""
