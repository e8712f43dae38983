"""What a mistake gets, through the whole program: one line with place and mend, exit 2, nothing launched."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flyball.agent.cli import run

GOOD: dict[str, Any] = {
    "train_batch_size": 16,
    "train_micro_batch_size_per_gpu": 2,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001}},
    "zero_optimization": {"stage": 1},
}
COMMAND = ("deepspeed", "--num_gpus", "2", "train.py", "--deepspeed_config", "ds.json")


@pytest.fixture(autouse=True)
def users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that would leave a trace if it were ever started."""
    binaries = tmp_path / "bin"
    binaries.mkdir()
    (binaries / "deepspeed").write_text("#!/bin/sh\ntouch launched\n")
    (binaries / "deepspeed").chmod(0o755)
    monkeypatch.setenv("PATH", f"{binaries}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FLYBALL_DB", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("import deepspeed\n")
    (tmp_path / "ds.json").write_text(json.dumps(GOOD, indent=1))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run autotune; return the one line it left, having launched nothing."""
    status = run(list(arguments), program="autotune")
    captured = capsys.readouterr()
    assert status == 2, captured
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    assert not Path("launched").exists()
    assert not Path("flyball_results").exists()
    return lines[0]


def config(**changes: Any) -> str:
    return json.dumps({**GOOD, **changes}, indent=1)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", ("ds.json", "is empty")),
        ("{", ("ds.json:1", "")),
        ("[1, 2]", ("ds.json", "not a JSON object")),
        ('{\n "train_batch_size": 8, // ours\n "steps_per_print": 1\n}', ("ds.json:2", "comment")),
        ('{"train_batch_size": 8, "train_batch_size": 16}', ("ds.json:1", "twice")),
        (config(train_micro_batchsize_per_gpu=2), ("ds.json", "train_micro_batch_size_per_gpu")),
        (config(gradient_accumulation_steps=3), ("ds.json", "train_batch_size")),
        (config(optimizer={"type": "OneBitAdam"}), ("ds.json", "OneBitAdam")),
        (config(zero_optimization={"stage": 2, "zero_quantized_weights": True}), ("ds.json", "stage 3")),
        (config(fp16={"enabled": True}, bf16={"enabled": True}), ("ds.json", "fp16")),
        (config(zero_optimization={"stage": 2}, pipeline={"stages": 2}), ("ds.json", "pipeline")),
    ],
    ids=[
        "empty",
        "cut off",
        "a list",
        "a comment",
        "a key twice",
        "a key misspelt",
        "batch equation",
        "1-bit with ZeRO",
        "ZeRO++ below stage 3",
        "fp16 with bf16",
        "pipeline above stage 1",
    ],
)
def test_a_config_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], text: str, says: tuple[str, str]
) -> None:
    Path("ds.json").write_text(text)
    line = refused(capsys, "--", *COMMAND)
    for part in says:
        assert part in line


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("knobs:\n  micro_bach: [1, 2]\n", ("space.yaml:2", "micro_batch")),
        ("knobs:\n  micro_batch: []\n", ("space.yaml:2", "empty")),
        ("knobs:\n  reduce_bucket_size: {low: 9, high: 3}\n", ("space.yaml:2", "")),
        ("knobs: [\n", ("space.yaml", "")),
    ],
    ids=["unknown knob", "empty range", "bounds reversed", "not YAML"],
)
def test_a_space_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], text: str, says: tuple[str, str]
) -> None:
    Path("space.yaml").write_text(text)
    line = refused(capsys, "--space", "space.yaml", "--", *COMMAND)
    for part in says:
        assert part in line


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("deepseed train.py --deepspeed_config ds.json", "deepseed"),
        ("deepspeed gone.py --deepspeed_config ds.json", "gone.py"),
        ("deepspeed train.py --deepspeed_config gone.json", "gone.json"),
        ("ls -l", "ls"),
    ],
)
def test_a_command_that_cannot_be_tuned(capsys: pytest.CaptureFixture[str], command: str, says: str) -> None:
    assert says in refused(capsys, "--", *command.split())


def test_a_script_with_no_place_for_a_config_is_told_how_to_make_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("train.py").write_text("print('no framework here')\n")
    line = refused(capsys, "--", "python", "train.py")
    assert "{ds_config}" in line
    assert "--config" in line


def locked(path: Path) -> Callable[[], None]:
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN EXCLUSIVE")
    return holder.close


def being_written(path: Path) -> Callable[[], None]:
    """By a program that keeps no write-ahead log, Optuna for one."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("CREATE TABLE other (x)")
    holder.execute("BEGIN IMMEDIATE")
    return holder.close


def not_a_database(path: Path) -> Callable[[], None]:
    path.write_bytes(b"these are my notes, not a database\n" * 100)
    return lambda: None


def a_folder(path: Path) -> Callable[[], None]:
    path.mkdir()
    return lambda: None


def newer(path: Path) -> Callable[[], None]:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE flyball_alembic_version (version_num VARCHAR(32) NOT NULL)")
    database.execute("INSERT INTO flyball_alembic_version VALUES ('9999')")
    database.commit()
    database.close()
    return lambda: None


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (not_a_database, "database"),
        (a_folder, "folder"),
        (newer, "newer"),
        (locked, "lock"),
        (being_written, "lock"),
    ],
)
def test_a_database_that_cannot_be_used(
    capsys: pytest.CaptureFixture[str], prepare: Callable[[Path], Callable[[], None]], says: str
) -> None:
    release = prepare(Path("history.db"))
    try:
        line = refused(capsys, "--db", "sqlite:///history.db", "--", *COMMAND)
    finally:
        release()
    assert "history.db" in line
    assert says in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--output /proc/nowhere", "/proc/nowhere"),
        ("--config ~nosuchuser/ds.json", "nosuchuser"),
        ("--output ~nosuchuser/out", "nosuchuser"),
        ("--config " + "x" * 300, "File name too long"),
        ("--output " + "x" * 300, "File name too long"),
        ("--budget " + "9" * 400 + "s", "longer than a year"),
    ],
    ids=["unwritable", "no such user", "no such user's folder", "long config", "long folder", "for ever"],
)
def test_paths_and_times_that_cannot_be(capsys: pytest.CaptureFixture[str], options: str, says: str) -> None:
    assert says in refused(capsys, *options.split(), "--", *COMMAND)


@pytest.mark.parametrize(
    "option", ["--config ds.json", "--space quick", "--map a=--b", "--seed 3", "--output elsewhere"]
)
def test_a_resumed_experiment_keeps_what_it_was_started_with(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    line = refused(capsys, "--resume=name", *option.split())
    assert option.split()[0] in line
    assert "without --resume" in line


@pytest.mark.parametrize("name", ["default", "quick", "compression", "memory"])
def test_a_bundled_space_goes_by_its_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert run(["--dry-run", "--space", name, "--", *COMMAND], program="autotune") == 0
    assert f"{name}.yaml" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("python train.py --deepspeed_config ds.json --deepspeed other.json", "two configs"),
        ("python train.py --deepspeed_config={ds_config} --deepspeed other.json", "two configs"),
        ("python train.py --deepspeed_config", "names no file"),
        ("python train.py --deepspeed_config=", "names no file"),
        ("deepspeed --no_python python train.py --deepspeed_config ds.json", "--no_python"),
        ("deepspeed --include a:0@b:0 train.py --deepspeed_config ds.json", "several hosts"),
    ],
)
def test_commands_that_say_two_things_or_none(
    capsys: pytest.CaptureFixture[str], command: str, says: str
) -> None:
    Path("other.json").write_text(json.dumps(GOOD))
    assert says in refused(capsys, "--config=ds.json", "--", *command.split())


@pytest.mark.parametrize(
    "changes",
    [
        {"zero_optimization": 2},
        {"optimizer": "Adam"},
        {"optimizer": {"type": 5}},
        {"fp16": True},
        {"scheduler": "x"},
        {"comms_logger": True},
        {"fp16": {"enabled": "perhaps"}},
        {"zero_optimization": {"stage": 3, "offload_param": "cpu"}},
    ],
    ids=str,
)
def test_sections_of_the_wrong_shape(capsys: pytest.CaptureFixture[str], changes: dict[str, Any]) -> None:
    Path("ds.json").write_text(config(**changes))
    assert next(iter(changes)) in refused(capsys, "--", *COMMAND)


@pytest.mark.parametrize("extends", ["[quick]", "{a: b}", "nothing"])
def test_a_space_that_extends_no_space(capsys: pytest.CaptureFixture[str], extends: str) -> None:
    Path("space.yaml").write_text(f"extends: {extends}\n")
    assert "space.yaml:1" in refused(capsys, "--space", "space.yaml", "--", *COMMAND)
