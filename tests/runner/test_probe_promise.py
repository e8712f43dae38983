"""What a run was promised, as its probe reads it."""

from pathlib import Path

import pytest

from flyball.runner.probe.promise import promise_of
from flyball.runner.probe.settings import Settings


def test_it_lies_in_the_runs_folder(tmp_path: Path) -> None:
    (tmp_path / "promise.json").write_text('{"experiment": "nightly", "low": 90, "high": 110.5}')
    assert promise_of(Settings(purpose="run", directory=str(tmp_path))) == {"low": 90.0, "high": 110.5}


def test_a_trial_is_promised_nothing(tmp_path: Path) -> None:
    (tmp_path / "promise.json").write_text('{"low": 90, "high": 110}')
    assert promise_of(Settings(purpose="trial", directory=str(tmp_path))) is None


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"low": "x", "high": 1}'])
def test_what_cannot_be_read_is_no_promise(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "promise.json").write_text(text)
    assert promise_of(Settings(purpose="run", directory=str(tmp_path))) is None
