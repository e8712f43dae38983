"""Recovery over an engine with DeepSpeed's methods, in a world of one rank."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.runner.probe_fakes import FakeEngine, read

from flyball.runner.probe.checkpoints import watch_checkpoints
from flyball.runner.probe.recovery import begin_recovery, watch_first_forward, watch_recovery
from flyball.runner.probe.settings import Settings
from flyball.runner.probe.watch import SLOT, Probe


class TorchCheckpointEngine:
    """Writes JSON; ``full`` stands for the disk."""

    full = False

    def save(self, state: Any, path: str) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path)


class SavingEngine(FakeEngine):
    """Saves and loads its count of steps."""

    def __init__(self) -> None:
        super().__init__()
        self.checkpoint_engine: Any = TorchCheckpointEngine()
        self.global_steps = 0

    def zero_nvme_offload_optimizer(self) -> bool:
        return False

    def step(self) -> None:
        self.global_steps += 1

    def save_checkpoint(self, save_dir: str, tag: str | None = None, save_latest: bool = True) -> bool:
        path = Path(save_dir, tag or f"global_step{self.global_steps}", "states.pt")
        self.checkpoint_engine.save({"step": self.global_steps}, str(path))
        return True

    def load_checkpoint(self, load_dir: str, tag: str | None = None) -> tuple[str, dict[str, Any]]:
        state = torch.load(Path(load_dir, tag or "", "states.pt"), weights_only=False)
        self.global_steps = state["step"]
        return load_dir, {}


watch_checkpoints(SavingEngine)
watch_recovery(SavingEngine, "step")
watch_first_forward(SavingEngine, "forward")


@pytest.fixture(scope="module", autouse=True)
def world() -> Iterator[None]:
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@contextmanager
def recovering(folder: Path, **settings: Any) -> Iterator[SavingEngine]:
    """An engine that is checkpointed every second step."""
    known = {"recovers": True, "checkpoint_every": 2, "recovery_directory": str(folder / "saved")}
    probe = Probe(Settings(run="job", directory=str(folder), **{**known, **settings}), speaks=True)
    probe.journal.open(0)
    SLOT.probe = probe
    engine = SavingEngine()
    try:
        begin_recovery(probe, engine)
        yield engine
    finally:
        SLOT.probe = None
        probe.journal.close()


def steps(engine: SavingEngine, count: int) -> None:
    for _ in range(count):
        engine.forward()
        engine.step()


def saved(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "saved").glob("*"))


def test_every_second_step_is_saved_and_the_newest_two_are_kept(tmp_path: Path) -> None:
    with recovering(tmp_path) as engine:
        steps(engine, 7)
    assert saved(tmp_path) == ["step-4", "step-6"]
    manifest = json.loads((tmp_path / "saved" / "step-6" / "manifest.json").read_text())
    assert (manifest["run"], manifest["step"], manifest["world_size"]) == ("job", 6, 1)
    assert [entry["path"] for entry in manifest["files"]] == ["random-rank-0.pt", "states.pt"]
    assert [record["step"] for record in read(tmp_path).of_kind("checkpoint")] == [2, 4, 6]


def test_a_full_disk_is_one_line_until_there_is_room_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with recovering(tmp_path) as engine:
        steps(engine, 2)
        engine.checkpoint_engine.full = True
        steps(engine, 4)
        assert saved(tmp_path) == ["step-2"]
        engine.checkpoint_engine.full = False
        steps(engine, 2)
    assert saved(tmp_path) == ["step-2", "step-8"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("flyball: the checkpoint of step 4 was not saved: ")
    assert line.endswith("No space left on device; the newest whole one is of step 2, training goes on")


def test_it_goes_on_from_the_step_that_it_is_told_and_draws_the_same_numbers(tmp_path: Path) -> None:
    with recovering(tmp_path) as engine:
        steps(engine, 4)
        drawn = torch.rand(3)
    with recovering(tmp_path, resume_step=4) as engine:
        assert engine.global_steps == 4
        torch.manual_seed(77)
        engine.forward()
        assert torch.equal(torch.rand(3), drawn)
        engine.step()
        assert saved(tmp_path) == ["step-2", "step-4"]
    assert [record["step"] for record in read(tmp_path).of_kind("restored")] == [4]


def test_another_number_of_ranks_is_refused(tmp_path: Path) -> None:
    with recovering(tmp_path) as engine:
        steps(engine, 2)
    file = tmp_path / "saved" / "step-2" / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "world_size": 8}))
    with (
        pytest.raises(RuntimeError, match="of 8 ranks and this run has 1"),
        recovering(tmp_path, resume_step=2),
    ):
        pass


def own_checkpoint(folder: Path, step: int) -> str:
    own = folder / "own"
    own.mkdir()
    torch.save({"step": step}, own / "states.pt")
    return str(own)


@pytest.mark.parametrize(("own", "goes_on_from"), [(1, 4), (9, 9)])
def test_of_the_scripts_checkpoint_and_ours_the_later_one_counts(
    tmp_path: Path, own: int, goes_on_from: int
) -> None:
    with recovering(tmp_path) as engine:
        steps(engine, 4)
    with recovering(tmp_path, resume_step=4) as engine:
        engine.load_checkpoint(own_checkpoint(tmp_path, own))
        assert engine.global_steps == goes_on_from


def test_a_script_that_saves_is_left_alone_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with recovering(tmp_path) as engine:
        engine.step()
        engine.save_checkpoint(str(tmp_path / "own"))
        steps(engine, 4)
        engine.save_checkpoint(str(tmp_path / "own"))
    assert saved(tmp_path) == []
    assert capsys.readouterr().err.count("the script saves checkpoints itself") == 1


def test_several_engines_are_the_scripts_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with recovering(tmp_path) as engine:
        assert SLOT.probe is not None
        begin_recovery(SLOT.probe, SavingEngine())
        steps(engine, 4)
    assert saved(tmp_path) == []
    assert "trains several engines" in capsys.readouterr().err


def test_a_writer_that_works_behind_the_step_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Decoupled(SavingEngine):
        def __init__(self) -> None:
            super().__init__()
            self.checkpoint_engine = type("FastCheckpointEngine", (), {})()

    with recovering(tmp_path):
        assert SLOT.probe is not None
        SLOT.probe.recovery = None
        begin_recovery(SLOT.probe, Decoupled())
        steps(SLOT.probe.recovery.engine, 4)
    assert saved(tmp_path) == []
    assert "behind the step (FastCheckpointEngine)" in capsys.readouterr().err
