"""The options of ``flyball run --study``: what is asked of the study, and what is refused."""

import sys
from pathlib import Path
from typing import Any

import pytest

from flyball.agent.cli import run
from flyball.agent.run_options import StudyGiven, asked_of
from flyball.agent.run_study import first_step_seconds
from flyball.errors import OptionError
from flyball.history.owner import Owner
from flyball.tuners.between_runs.turn import Turn, asked_of_document, turn_of_document
from flyball.tuners.objective import Objective

COMMAND = ("deepspeed", "train.py")


def test_a_plain_run_is_part_of_no_study() -> None:
    assert asked_of(StudyGiven(study=None), COMMAND, "sqlite://") is None


def test_what_is_asked_passes_whole_to_the_studys_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = StudyGiven(
        study="nightly",
        search_runs="5",
        space=Path("space.yaml"),
        config=Path("ds.json"),
        maps=["train_micro_batch_size_per_gpu=--batch"],
        samples_from="config",
        policies=["mine.yaml"],
        memory_limit_ratio="0.8",
        objective="energy",
        least_throughput="0.9",
        seed="7",
        output=Path("out"),
        no_explore=True,
    )
    asked = asked_of(given, COMMAND, "sqlite:///x")
    assert asked is not None
    options = asked.options
    assert (options.command, options.name, options.trials, options.seed) == (COMMAND, "nightly", 5, 7)
    assert (options.space, options.config) == (tmp_path / "space.yaml", tmp_path / "ds.json")
    assert (options.output, options.policies) == (tmp_path / "out", (str(tmp_path / "mine.yaml"),))
    assert (options.samples_from, options.memory_limit_ratio) == ("config", 0.8)
    assert (options.objective, options.least_throughput_ratio) == (Objective.ENERGY, 0.9)
    assert options.maps == {"train_micro_batch_size_per_gpu": "--batch"}
    assert (asked.explore, asked.owner, asked.objective_given) == (False, Owner.current(), True)
    assert asked_of_document(asked.document()) == asked


def test_a_turn_passes_whole_back() -> None:
    turn = Turn(study="nightly", trial_id=3, is_own=False, tokens=("a", "b"), lines=("x",), probe={"k": 1})
    assert turn_of_document(turn.document()) == turn


def test_an_objective_that_was_not_named_is_left_to_the_study() -> None:
    asked = asked_of(StudyGiven(study="nightly"), COMMAND, "sqlite:///x")
    assert asked is not None
    assert not asked.objective_given
    assert asked_of_document(asked.document()) == asked


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--space", "x.yaml"], "--space: belongs to a study; add --study NAME"),
        (["--objective", "energy"], "--objective: belongs to a study; add --study NAME"),
        (["--study", "a", "--objective", "watts"], "--objective: 'watts' does not fit"),
        (["--study", "a", "--least-throughput", "0.5"], "--least-throughput: only energy is saved"),
        (["--no-explore"], "--no-explore: belongs to a study"),
        (["--study", "a/b"], "--study: 'a/b' cannot name a study"),
        (["--study", "a@2"], "--study: 'a@2' cannot name a study"),
        (["--study", "a", "--search-runs", "0"], "--search-runs: '0' does not fit"),
        (["--study", "a", "--memory-limit-ratio", "2"], "--memory-limit-ratio: '2' is no share"),
        (["--study", "a", "--samples-from", "rows"], "--samples-from: 'rows' does not fit"),
        (["--study", "a", "--first-step-within", "soon"], "--first-step-within: "),
        (["--study", "a", "--map", "x"], "--map: 'x' maps nothing"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(
    options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["run", *options, "--", "true"]) == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")


def test_a_study_that_cannot_begin_is_refused_at_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    (tmp_path / "train.py").write_text("import deepspeed\n")
    (tmp_path / "ds.json").write_text('{"train_batch_size": 4, "train_micro_batch_size_per_gpu": 4}')
    command = [sys.executable, "train.py", "--deepspeed_config", "ds.json"]
    database = f"sqlite:///{tmp_path / 'history.db'}"
    asked = ["--study", "a", "--objective", "energy", "--db", database]
    assert run(["run", *asked, "--", *command]) == 2
    assert capsys.readouterr().err.startswith("error: --objective: energy cannot be measured")


@pytest.mark.parametrize(
    ("turn", "given", "seconds"),
    [
        ({}, 5.0, None),
        ({"is_own": False}, 5.0, 5.0),
        ({"is_own": False}, None, None),
        ({"is_own": False, "startup_seconds": 10.0}, None, 600.0),
        ({"is_own": False, "startup_seconds": 300.0}, None, 3000.0),
    ],
)
def test_a_configuration_that_is_tried_has_its_time_for_the_first_step(
    turn: dict[str, Any], given: float | None, seconds: float | None
) -> None:
    assert first_step_seconds(Turn(study="nightly", **turn), given) == seconds


@pytest.mark.parametrize(
    ("name", "count", "refused"), [("WORLD_SIZE", "2", True), ("WORLD_SIZE", "1", False)]
)
def test_below_a_launcher_each_process_would_take_a_configuration_of_its_own(
    name: str, count: str, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, count)
    if refused:
        with pytest.raises(OptionError, match="one of the 2 processes of a launcher"):
            asked_of(StudyGiven(study="nightly"), COMMAND, "sqlite://")
    else:
        assert asked_of(StudyGiven(study="nightly"), COMMAND, "sqlite://") is not None
