"""Trainer and accelerate, stood in for by classes with their signatures: what a trial resumes from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.runner.probe_fakes import read, watched

from flyball.runner.probe.resuming import start_accelerator_anew, start_trainer_anew


class Trainer:
    """Says what it would resume from."""

    def __init__(self, output: Path) -> None:
        self.args = SimpleNamespace(output_dir=str(output))

    def train(self, resume_from_checkpoint: Any = None, trial: Any = None) -> Any:
        return resume_from_checkpoint


class Accelerator:
    """Says what it would load."""

    project_dir = None

    def load_state(self, input_dir: Any = None, load_kwargs: Any = None) -> Any:
        return ("loaded", input_dir)


start_trainer_anew(SimpleNamespace(Trainer=Trainer))
start_accelerator_anew(SimpleNamespace(Accelerator=Accelerator))


@pytest.mark.parametrize("asked", [True, "user/checkpoint-5"])
def test_a_trainer_in_a_trial_starts_anew(tmp_path: Path, asked: Any) -> None:
    (tmp_path / "user" / "checkpoint-5").mkdir(parents=True)
    trainer = Trainer(tmp_path / "user")
    with watched(tmp_path / "trial", purpose="trial"):
        assert trainer.train(resume_from_checkpoint=asked) is None
        assert trainer.train(asked) is None
    (first, _) = read(tmp_path / "trial").of_kind("redirect")
    assert (first["what"], first["to"]) == ("resume_from_checkpoint", None)


def test_a_trainer_resumes_from_what_its_trial_saved(tmp_path: Path) -> None:
    output = tmp_path / "trial" / "output"
    trainer = Trainer(output)
    with watched(tmp_path / "trial", purpose="trial"):
        assert trainer.train(resume_from_checkpoint=True) is None
        (output / "checkpoint-5").mkdir(parents=True)
        assert trainer.train(resume_from_checkpoint=True) is True
        own = str(output / "checkpoint-5")
        assert trainer.train(own) == own
        assert trainer.train(resume_from_checkpoint=False) is False


def test_a_run_resumes_from_where_its_script_says(tmp_path: Path) -> None:
    with watched(tmp_path, purpose="run"):
        assert Trainer(tmp_path).train("user/checkpoint-5") == "user/checkpoint-5"
        assert Accelerator().load_state("user/state") == ("loaded", "user/state")


def test_accelerate_in_a_trial_loads_only_what_the_trial_saved(tmp_path: Path) -> None:
    own = str(tmp_path / "trial" / "state")
    with watched(tmp_path / "trial", purpose="trial"):
        assert Accelerator().load_state(str(tmp_path / "user")) is None
        assert Accelerator().load_state() is None
        assert Accelerator().load_state(own) == ("loaded", own)
    redirects = read(tmp_path / "trial").of_kind("redirect")
    assert [record["what"] for record in redirects] == ["load_state", "load_state"]
