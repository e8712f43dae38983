"""kill -9 of autotune at random moments, then ``--resume``: what is lost, what is left.

python tests/benchmarks kill_and_resume [--kills 10] [--seed 0] [--trials 6] [--longest 45]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _runs import BINARIES, ROOT, Runs, reference_command, verdict, with_binaries

from flyball.database import open_database
from flyball.history.store import History

MARKER = b"FLYBALL_TRIAL="
GONE_SECONDS = 30.0


def main() -> int:
    """Kill and resume until the study ends; the exit status says whether anything was lost or left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--longest", type=float, default=45.0, help="seconds before a kill, at most")
    arguments = parser.parse_args()
    with_binaries()
    draw = random.Random(arguments.seed)
    folder = Path(tempfile.mkdtemp(prefix="flyball-kill-"))
    # DeepSpeed builds its operators in the first run: a kill during each build would let none be finished.
    Runs.begin(folder / "built").launcher.close()
    before = left_behind()
    lost, repeated, left = 0, 0, 0
    finished: dict[int, tuple[str, float | None]] = {}
    for kill in range(arguments.kills):
        started = start(folder, resume=kill > 0, trials=arguments.trials)
        try:
            started.wait(timeout=draw.uniform(5.0, arguments.longest))
        except subprocess.TimeoutExpired:
            started.send_signal(signal.SIGKILL)
        started.wait()
        remains = wait_until_gone(before)
        left += len(remains)
        now = finished_trials(folder)
        lost += sum(1 for number, trial in finished.items() if now.get(number) != trial)
        finished = now
        print(f"kill {kill + 1}: {len(finished)} finished, left: {sorted(remains) or 'nothing'}", flush=True)
    ended = start(folder, resume=True, trials=arguments.trials)
    status = ended.wait()
    now = finished_trials(folder)
    lost += sum(1 for number, trial in finished.items() if now.get(number) != trial)
    repeated = search_repeats(folder)
    met = verdict("every finished trial kept", f"{lost} lost", met=lost == 0)
    met &= verdict("none counted twice", f"{repeated} repeated", met=repeated == 0)
    met &= verdict("nothing left behind", f"{left} left", met=left == 0)
    met &= verdict("the last --resume ends with a verdict", f"exit status {status}", met=status == 0)
    return 0 if met else 1


def start(folder: Path, *, resume: bool, trials: int) -> subprocess.Popen[bytes]:
    """Begin the study, or go on with it."""
    database = f"sqlite:///{folder / 'history.db'}"
    options = ["--db", database]
    if resume and finished_trials(folder) is not None and (folder / "out").is_dir():
        arguments = [*options, "--resume", str(folder / "out")]
    else:
        arguments = [*options, "--output", str(folder / "out"), "--trials", str(trials), "--seed", "1"]
        # Short runs, so that the kills fall into every phase and not all into the first run.
        arguments += ["--budget", "5m", "--"]
        arguments += reference_command()
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            [str(BINARIES / "autotune"), *arguments], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )


def finished_trials(folder: Path) -> dict[int, tuple[str, float | None]]:
    """Outcome and rate of every finished trial by number; interrupted ones say nothing."""
    if not (folder / "history.db").exists():
        return {}
    with open_database(f"sqlite:///{folder / 'history.db'}") as database:
        history = History(database)
        return {
            trial.number: (trial.outcome, trial.samples_per_second)
            for summary in history.experiments()
            for trial in history.trials(summary.experiment.id)
            if trial.outcome not in (None, "interrupted")
        }


def search_repeats(folder: Path) -> int:
    """Completed search trials that repeat the configuration of another."""
    with open_database(f"sqlite:///{folder / 'history.db'}") as database:
        history = History(database)
        digests = [
            trial.configuration.digest
            for summary in history.experiments()
            for trial in history.trials(summary.experiment.id)
            if trial.phase == "search" and trial.outcome == "completed"
        ]
    return len(digests) - len(set(digests))


def left_behind() -> set[str]:
    """Marked processes, shared memory and build locks."""
    found = {str(path) for path in Path("/dev/shm").glob("deepspeed_allreduce_buffer_*")}
    found |= {str(path) for path in Path.home().glob(".cache/torch_extensions/*/*/lock")}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if MARKER in (entry / "environ").read_bytes():
                    found.add(f"process {entry.name}")
            except OSError:
                continue
    return found


def wait_until_gone(before: set[str]) -> set[str]:
    """What is left once the reaper has had its time."""
    end = time.monotonic() + GONE_SECONDS
    while time.monotonic() < end and left_behind() - before:
        time.sleep(0.2)
    return left_behind() - before


if __name__ == "__main__":
    assert os.name == "posix"
    sys.exit(main())
