"""``flyball run --checkpoint-every --max-restarts`` over real ranks that are killed, hang, or cannot save."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.live.test_workload import free_port, launcher
from tests.patience import PATIENCE_SECONDS

from flyball.collectors.journal import read_folder
from flyball.runner.probe.heartbeat import read_heartbeats
from flyball.runner.probe.manifest import read_manifest
from flyball.runner.rank_watch import end_ranks

pytestmark = pytest.mark.live

FLYBALL = Path(sys.executable).with_name("flyball")
SCRIPT = Path(__file__).parent / "scripts" / "fails_and_recovers.py"


class Run:
    """One ``flyball run`` in a folder of its own."""

    def __init__(self, folder: Path, options: Sequence[str], command: Sequence[str]) -> None:
        self.folder, self.run_folder = folder, folder / "state" / "runs" / "job"
        words = ["--name", "job", "--json", str(folder / "summary.json"), *options, "--", *command]
        self._printed: list[str] = []
        self.process = subprocess.Popen(
            [FLYBALL, "run", *words],
            cwd=folder,
            env={**os.environ, "FLYBALL_STATE_DIR": str(folder / "state"), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
            errors="replace",
        )
        # A file would come under the limit that stands in for a full disk.
        self._reader = threading.Thread(target=lambda: self._printed.extend(self.process.stdout or ()))
        self._reader.start()

    def end(self) -> int:
        """Wait for its end and return its exit status."""
        try:
            return self.process.wait(PATIENCE_SECONDS)
        finally:
            self.clear()

    def clear(self) -> None:
        """Leave nothing behind."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        end_ranks(self.run_folder)
        self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()

    def kill(self, rank: int, *, after_step: int) -> None:
        """kill -9 of a rank once it has made a step."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.process.poll() is None and time.monotonic() < deadline:
            beats = read_heartbeats(str(self.run_folder)) if self.run_folder.is_dir() else []
            for beat in beats:
                if beat["rank"] == rank and (beat["step"] or 0) >= after_step:
                    os.kill(beat["pid"], signal.SIGKILL)
                    return
            time.sleep(0.002)
        pytest.fail(f"step {after_step} was not reached: {self.text()[-3000:]}")

    def text(self) -> str:
        """What it and its command printed."""
        return "".join(self._printed)

    def said(self) -> list[str]:
        """What flyball itself printed."""
        return [line for line in self.text().splitlines() if line.startswith("flyball: ")]

    def restarts(self) -> list[Mapping[str, Any]]:
        """As the summary tells them."""
        found: list[Mapping[str, Any]] = json.loads((self.folder / "summary.json").read_text())["restarts"]
        return found

    def checkpoints(self) -> list[str]:
        """The names of the checkpoints in the run's own folder."""
        return sorted(path.name for path in (self.run_folder / "checkpoints").iterdir())


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Any]:
    begun: list[Run] = []

    def start(name: str, options: Sequence[str], command: Sequence[str]) -> Run:
        folder = tmp_path / name
        folder.mkdir()
        begun.append(Run(folder, options, command))
        return begun[-1]

    yield start
    for run in begun:
        run.clear()


def script(*words: str, launched_by: str = "python") -> list[str]:
    """The command of the small script, on one rank or two."""
    return [*launcher(launched_by, free_port()), str(SCRIPT), *words]


def states(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint by its place."""
    found: dict[str, torch.Tensor] = {}

    def collect(where: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            found[where] = value
        elif isinstance(value, dict):
            for key, each in value.items():
                collect(f"{where}.{key}", each)
        elif isinstance(value, list | tuple):
            for index, each in enumerate(value):
                collect(f"{where}[{index}]", each)

    for path in sorted(checkpoint.glob("*_states.pt")):
        collect(path.name, torch.load(path, map_location="cpu", weights_only=False))
    return found


def test_a_killed_rank_costs_steps_and_no_bit_of_the_weights(begin: Any) -> None:
    options = ["--checkpoint-every", "2", "--max-restarts", "1"]
    whole = begin("whole", options, script("--steps", "8", launched_by="torchrun"))
    assert whole.end() == 0, whole.text()[-3000:]
    assert whole.checkpoints() == ["step-6", "step-8"]
    killed = begin("killed", options, script("--steps", "8", "--slow", launched_by="torchrun"))
    killed.kill(1, after_step=5)
    assert killed.end() == 0, killed.text()[-3000:]
    (restart,) = killed.restarts()
    assert restart["step"] in (4, 6)
    assert 0 < restart["seconds"] < PATIENCE_SECONDS
    one, other = (states(run.run_folder / "checkpoints" / "step-8") for run in (whole, killed))
    assert one.keys() == other.keys()
    assert len(one) > 4
    assert all(torch.equal(value, other[where]) for where, value in one.items())
    said = " ".join(killed.said())
    assert f"goes on from the checkpoint of step {restart['step']}" in said
    assert "which data comes next is up to the script" in said
    journal = read_folder(killed.run_folder)[0]
    assert [record["step"] for record in journal.of_kind("restored")] == [restart["step"]]
    assert journal.of_kind("checkpoint")[-1]["fault"] is None


def test_a_checkpoint_that_was_damaged_gives_way_to_the_one_before(begin: Any) -> None:
    options = ["--checkpoint-every", "2", "--max-restarts", "1"]
    run = begin("job", options, script("--steps", "8", "--damage-newest-and-raise-at", "5"))
    assert run.end() == 0, run.text()[-3000:]
    assert [restart["step"] for restart in run.restarts()] == [2]
    assert any("the checkpoint of step 4 is not loaded" in line for line in run.said())
    assert read_manifest(str(run.run_folder / "checkpoints" / "step-8"))["step"] == 8


def test_a_disk_that_fills_up_leaves_the_last_whole_one_and_the_run_goes_on(begin: Any) -> None:
    run = begin("job", ["--checkpoint-every", "2"], script("--steps", "8", "--limit-files-after", "3"))
    assert run.end() == 0, run.text()[-3000:]
    assert run.checkpoints() == ["step-2"]
    (line,) = [line for line in run.said() if "was not saved" in line]
    # torch's writer of archives does not always pass on what the system said.
    assert "File too large" in line or re.search(r"torch could not write it whole; [\d,]+ MB are free", line)
    assert line.endswith("the newest whole one is of step 2, training goes on")


def test_a_hang_is_ended_and_the_run_goes_on(begin: Any) -> None:
    options = ["--checkpoint-every", "2", "--max-restarts", "1", "--hang-after", "8s"]
    run = begin("job", options, script("--steps", "6", "--hang-at", "5"))
    assert run.end() == 0, run.text()[-3000:]
    (restart,) = run.restarts()
    assert restart["failure"].startswith("a hang after step 4: no step for")
    assert restart["step"] == 4


def test_what_fails_the_same_way_twice_is_not_tried_a_third_time(begin: Any) -> None:
    options = ["--checkpoint-every", "2", "--max-restarts", "5"]
    run = begin("job", options, script("--steps", "6", "--always-raise-at", "4"))
    assert run.end() == 1
    assert len(run.restarts()) == 1
    assert "not started again: it fails the same way before any new step" in " ".join(run.said())


def test_restarts_end_and_the_last_status_is_passed_on(begin: Any) -> None:
    run = begin("job", ["--max-restarts", "2"], ["sh", "-c", "echo began; exit 7"])
    assert run.end() == 7
    assert run.text().count("began\n") == 3
    assert "2 restarts were made, as many as --max-restarts allows" in " ".join(run.said())


def test_a_user_who_ends_it_is_obeyed(begin: Any) -> None:
    run = begin(
        "job", ["--max-restarts", "2"], ["sh", "-c", "trap 'exit 1' TERM; touch ready; sleep 300 & wait"]
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (run.folder / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    run.process.send_signal(signal.SIGTERM)
    assert run.end() == 1
    assert "not started again: it was told to end (SIGTERM)" in " ".join(run.said())
    assert run.restarts() == []


def test_a_script_that_saves_itself_is_left_alone(begin: Any) -> None:
    run = begin("job", ["--checkpoint-every", "3"], script("--steps", "7", "--save-every", "2"))
    assert run.end() == 0, run.text()[-3000:]
    assert not (run.run_folder / "checkpoints").exists()
    told = [line for line in run.said() if "saves checkpoints itself" in line]
    assert told == ["flyball: the script saves checkpoints itself: flyball asks for none from here on"]
    assert (run.folder / "own" / "latest").read_text() == "global_step6"
