"""``flyball run --study`` over real processes: production runs of one job, tuned from run to run."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.live.test_workload import TINY, WORKLOAD
from tests.patience import PATIENCE_SECONDS

from flyball.agent.run_study_watch import FirstStepWatch
from flyball.database import open_database
from flyball.history.records import TrialRecord
from flyball.history.store import History

pytestmark = pytest.mark.live

FLYBALL = Path(sys.executable).with_name("flyball")
CONFIG = {
    "train_batch_size": 8,
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}
TWO_HAS_NO_ROOM = f"""
import json, runpy, sys
with open(sys.argv[sys.argv.index("--deepspeed_config") + 1]) as file:
    micro = json.load(file)["train_micro_batch_size_per_gpu"]
print(f"micro batch {{micro}}", flush=True)
if micro == 2:
    sys.exit("no room for two")
sys.path.insert(0, {str(WORKLOAD)!r})
runpy.run_path({str(WORKLOAD / "train.py")!r}, run_name="__main__")
"""
"""The reference workload, which fails before its first step with a micro batch of 2."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ds.json").write_text(json.dumps(CONFIG))
    (tmp_path / "train.py").write_text(TWO_HAS_NO_ROOM)
    (tmp_path / "space.yaml").write_text("knobs:\n  micro_batch: [1, 2]\n")
    return tmp_path


def environment(folder: Path) -> dict[str, str]:
    own = {"FLYBALL_STATE_DIR": str(folder / "state"), "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own}


def command(steps: int) -> list[str]:
    options = ["--steps", str(steps), "--save", "checkpoints", "--save-every", str(steps)]
    config = ["--deepspeed", "--deepspeed_config", "ds.json"]
    return [sys.executable, "train.py", *TINY, *options, *config]


def flyball(folder: Path, *options: str, words: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [FLYBALL, "run", "--study", "nightly", "--space", "space.yaml", *options, "--", *words],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def trials(folder: Path) -> list[TrialRecord]:
    with open_database(f"sqlite:///{folder / 'state' / 'history.db'}", for_reading=True) as database:
        history = History(database)
        return history.trials(history.find_experiment("nightly").id)


def test_runs_take_turns_and_one_that_fails_at_its_start_is_followed_by_the_users_own(folder: Path) -> None:
    first = flyball(folder, words=command(16))
    assert first.returncode == 0, first.stderr
    assert "study nightly begins" in first.stderr
    # A production run: its checkpoints are where its user has them.
    assert (folder / "checkpoints" / "latest").read_text() == "global_step16"

    second = flyball(folder, words=command(16))
    assert second.returncode == 0, second.stderr
    assert [line for line in second.stdout.splitlines() if line.startswith("micro batch")] == [
        "micro batch 2",
        "micro batch 1",
    ]
    assert "your own configuration starts in its place" in second.stderr
    assert [trial.outcome for trial in trials(folder)] == ["completed", "crashed", "completed"]


def test_a_signal_is_the_commands_and_the_run_is_not_counted(folder: Path) -> None:
    (folder / "train.py").write_text("import time\nprint('ready', flush=True)\ntime.sleep(600)\n")
    with subprocess.Popen(
        [FLYBALL, "run", "--study", "nightly", "--space", "space.yaml", "-q", "--", *command(1)],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    assert [trial.outcome for trial in trials(folder)] == ["interrupted"]


def test_a_run_that_makes_no_first_step_in_time_is_ended(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as process:
        watch = FirstStepWatch(folder=tmp_path, pid=process.pid, seconds=0.1)
        watch.start()
        assert process.wait(timeout=PATIENCE_SECONDS) == -signal.SIGTERM
    assert watch.hung == "no first step within 0 s"


def test_without_its_database_the_command_runs_as_it_is_and_one_line_says_so(folder: Path) -> None:
    (folder / "no-database").write_text("not a database, and long enough to be read as one " * 4)
    done = flyball(
        folder, "-q", "--db", f"sqlite:///{folder / 'no-database'}", words=["sh", "-c", "echo ran; exit 3"]
    )
    assert (done.returncode, done.stdout) == (3, "ran\n")
    told = [line for line in done.stderr.splitlines() if "study nightly" in line]
    assert len(told) == 1
    assert "this run is your own command, outside the study" in told[0]


def test_what_cannot_become_a_study_is_refused_before_it_runs(folder: Path) -> None:
    done = flyball(folder, words=["sh", "-c", "echo ran"])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: command: sh is neither a Python script nor a launcher")
