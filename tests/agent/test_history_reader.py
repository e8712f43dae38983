"""The reader over a real SQLite history: what was written is what is shown."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from flyball.agent.cli import run
from flyball.collectors.processes import pid_namespace, process_started
from flyball.database import open_database
from flyball.history.owner import Owner
from flyball.history.run_log import RunLog
from flyball.history.store import History
from flyball.settings import history_url


@dataclass
class Machine:
    """A fingerprint."""

    digest: str = "f" * 64

    def document(self) -> dict[str, Any]:
        return {"cpu": "a cpu", "torch": "2.13.0"}


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'history.db'}"


@pytest.fixture
def written(url: str, tmp_path: Path) -> None:
    """One experiment: a completed baseline, a trial out of memory, a running one, a recommendation."""
    database = open_database(url)
    history = History(database)
    owner = Owner.current()
    experiment = history.create_experiment(
        name="tiny",
        command=["deepspeed", "train.py", "--hf_token", "s3cret"],
        base_config={"train_batch_size": 8},
        space={},
        seed=7,
        budget_seconds=600.0,
        options={},
        fingerprint=Machine(),
        output_directory=str(tmp_path / "out"),
        owner=owner,
    )
    for number, outcome in enumerate(["completed", "out_of_memory", None]):
        configuration = history.add_configuration(
            experiment,
            digest=str(number),
            assignment={"micro_batch": 2**number},
            ds_config={"train_batch_size": 8, "train_micro_batch_size_per_gpu": 2**number},
            arguments={},
            environment={},
            probe={},
        )
        trial = history.start_trial(
            experiment,
            number=number,
            phase="search" if number else "baseline",
            configuration_id=configuration,
            owner=owner,
        )
        rate = {"point": 100.0, "low": 97.0, "high": 103.0}
        if outcome is not None:
            history.finish_trial(
                trial,
                outcome=outcome,
                reason="rank 1: 2 GiB asked for" if number else "precise enough",
                measurement=None if number else {"samples_per_second": rate, "tokens_per_second": 1.0},
                launcher="warm",
                startup_seconds=1.5,
                total_seconds=6.0,
                notes=[],
            )
    history.save_recommendation(
        experiment, {"verdict": "keep", "speedup": None, "changes": [], "reasons": ["x"]}
    )
    database.close()


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["history", *arguments, "--json"]) == 0
    captured = capsys.readouterr()
    assert "s3cret" not in captured.out
    return json.loads(captured.out)


@pytest.mark.parametrize("there", [True, False])
def test_an_empty_history_is_one_friendly_line(
    there: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYBALL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("FLYBALL_DB", raising=False)
    if there:
        open_database(history_url()).close()
    assert run(["history", "experiments"]) == 0
    assert capsys.readouterr().out == "no experiments yet; make one with autotune -- COMMAND...\n"
    assert (tmp_path / "state").exists() is there


@pytest.mark.usefixtures("written")
def test_what_was_written_is_shown(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLYBALL_DB", url)
    (experiment,) = shown(capsys, "experiments")
    assert experiment["name"] == "tiny"
    assert experiment["outcomes"] == {"completed": 1, "out_of_memory": 1, "running": 1}
    assert experiment["verdict"] == experiment["recommendation"]["verdict"] == "keep"
    assert experiment["fingerprint"] == Machine().document()
    trials = shown(capsys, "trials", "out")
    assert [trial["outcome"] for trial in trials] == ["completed", "out_of_memory", "running"]
    assert trials[0]["measurement"]["samples_per_second"]["point"] == 100.0
    assert run(["history", "show", "tiny", "--trial", "1"]) == 0
    page = capsys.readouterr().out
    assert "rank 1: 2 GiB asked for" in page
    assert "train_micro_batch_size_per_gpu" in page


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ("mysql://u:s3cret@h/d", "databases are not supported"),
        ("history.db", "write sqlite:///"),
        ("sqlite:////proc/nothing/history.db", "/proc/nothing"),
        ("sqlite:///histroy.db", "histroy.db: there is no such database; check the path after --db"),
    ],
)
def test_a_database_that_cannot_be_used_is_one_line(
    database: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["history", "experiments", "--db", database]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "s3cret" not in captured.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_rank_lives_is_still_running_and_another_was_not_seen_to_end(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    header = {"kind": "header", "schema": 1, "rank": 0, "pid": os.getpid(), "pid_namespace": pid_namespace()}
    with open_database(url) as database:
        for name, started in (("lives", process_started(os.getpid())), ("died", 1.0)):
            (tmp_path / name).mkdir()
            text = json.dumps({**header, "started": started}) + "\n"
            (tmp_path / name / "rank-0.jsonl").write_text(text)
            RunLog(database).start_run(
                name=name,
                host="here",
                folder=tmp_path / name,
                command=["x"],
                started_time=1.0,
                fingerprint=None,
            )
    runs = {each["name"]: each["running"] for each in shown(capsys, "runs", "--db", url)}
    assert runs == {"lives": True, "died": False}
    assert run(["history", "runs", "--db", url]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split("here")[0].strip(): line for line in lines[1:]}.keys() == {"lives", "died"}
    assert ["still running" in line for line in lines if "lives" in line] == [True]
    assert ["not seen" in line for line in lines if "died" in line] == [True]
