from pathlib import Path

from flyball.tuners.trial_runner import LARGEST_KEPT_BYTES, remove_checkpoints


def test_a_trials_checkpoints_and_models_are_removed_and_its_logs_kept(tmp_path: Path) -> None:
    for folder in ("checkpoints/ckpt", "run/checkpoint-10", "global_step5"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "part").write_bytes(b"weights")
    (tmp_path / "log.txt").write_text("kept")
    with (tmp_path / "run" / "model.safetensors").open("wb") as file:
        file.truncate(LARGEST_KEPT_BYTES + 1)
    remove_checkpoints(tmp_path)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.txt"]
