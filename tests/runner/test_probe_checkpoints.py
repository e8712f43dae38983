from pathlib import Path

from tests.runner.probe_fakes import read, watched


def test_a_run_saves_and_loads_where_the_script_says(tmp_path: Path) -> None:
    with watched(tmp_path, purpose="run", checkpoint_directory=str(tmp_path / "own")) as (engine, _):
        engine.save_checkpoint("ckpt")
        assert engine.load_checkpoint("ckpt") == ("ckpt", {"step": 7})
        assert engine.saved == engine.loaded == ["ckpt"]
    edges = [(record["phase"], record["edge"]) for record in read(tmp_path).of_kind("pause")]
    assert edges == [("checkpointing", "begin"), ("checkpointing", "end")] * 2


def test_a_trial_saves_to_its_own_folder_and_finds_there_what_it_saved(tmp_path: Path) -> None:
    own = tmp_path / "trial" / "checkpoints"
    with watched(tmp_path / "trial", purpose="trial", checkpoint_directory=str(own)) as (engine, _):
        engine.save_checkpoint(save_dir=str(tmp_path / "a" / "ckpt"))
        engine.save_checkpoint(str(tmp_path / "b" / "ckpt"), tag="t")
        engine.save_checkpoint(str(tmp_path / "a" / "ckpt"))
        engine.load_checkpoint(str(tmp_path / "b" / "ckpt"))
        assert engine.saved == [str(own / "ckpt"), str(own / "ckpt-1"), str(own / "ckpt")]
        assert engine.loaded == [str(own / "ckpt-1")]
    redirects = read(tmp_path / "trial").of_kind("redirect")
    assert [record["to"] for record in redirects] == [str(own / "ckpt"), str(own / "ckpt-1")]


def test_a_trial_does_not_resume_from_the_users_checkpoints(tmp_path: Path) -> None:
    with watched(
        tmp_path / "trial", purpose="trial", checkpoint_directory=str(tmp_path / "trial" / "checkpoints")
    ) as (engine, _):
        path, state = engine.load_checkpoint(str(tmp_path / "ckpt"))
        assert path is None
        assert state["step"] == 0
        assert state.get("step") == 0
        assert state.get("epoch", 5) == 5
        assert engine.loaded == []


def test_a_trial_saves_inside_its_own_folder_unchanged(tmp_path: Path) -> None:
    inside = str(tmp_path / "trial" / "output")
    with watched(tmp_path / "trial", purpose="trial", checkpoint_directory=str(tmp_path / "trial" / "c")) as (
        engine,
        _,
    ):
        engine.save_checkpoint(inside)
        assert engine.saved == [inside]
