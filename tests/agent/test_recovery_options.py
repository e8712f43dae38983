from pathlib import Path
from typing import Any

import pytest

from flyball.agent.recovery_options import Recovering, recovering
from flyball.errors import OptionError

NOTHING: dict[str, Any] = {
    "checkpoint_every": None,
    "checkpoint_dir": None,
    "keep_checkpoints": None,
    "max_restarts": None,
    "hang_after": None,
    "study": None,
}


def test_nothing_is_recovered_unless_asked_for() -> None:
    assert recovering(**NOTHING) is None


def test_each_half_works_alone() -> None:
    assert recovering(**{**NOTHING, "checkpoint_every": "1000"}) == Recovering(
        checkpoint_every=1000,
        checkpoint_directory=None,
        keep_checkpoints=2,
        max_restarts=0,
        hang_seconds=None,
    )
    found = recovering(**{**NOTHING, "max_restarts": "3", "hang_after": "10m"})
    assert found is not None
    assert (found.checkpoint_every, found.max_restarts, found.hang_seconds) == (0, 3, 600.0)


def test_a_folder_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = recovering(**{**NOTHING, "checkpoint_every": "10", "checkpoint_dir": Path("saved")})
    assert found is not None
    assert found.checkpoint_directory == tmp_path / "saved"


@pytest.mark.parametrize(
    ("given", "where"),
    [
        ({"checkpoint_every": "0"}, "--checkpoint-every"),
        ({"checkpoint_every": "often"}, "--checkpoint-every"),
        ({"checkpoint_every": "5", "keep_checkpoints": "0"}, "--keep-checkpoints"),
        ({"max_restarts": "-1"}, "--max-restarts"),
        ({"max_restarts": "3", "hang_after": "soon"}, "--hang-after"),
        ({"checkpoint_dir": Path("saved")}, "--checkpoint-dir"),
        ({"max_restarts": "1", "keep_checkpoints": "3"}, "--keep-checkpoints"),
        ({"checkpoint_every": "5", "hang_after": "10m"}, "--hang-after"),
        ({"checkpoint_every": "5", "study": "nightly"}, "--checkpoint-every"),
        ({"max_restarts": "5", "study": "nightly"}, "--max-restarts"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_mend(given: dict[str, Any], where: str) -> None:
    with pytest.raises(OptionError) as refused:
        recovering(**{**NOTHING, **given})
    assert refused.value.where == where
    assert refused.value.mend
