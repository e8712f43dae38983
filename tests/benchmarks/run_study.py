"""A study spread over production runs, two of them killed: does it come to what a plain study comes to?

python tests/benchmarks run_study [--runs 12] [--steps 60] [--seed 1] [--no-plain]
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _runs import BINARIES, WORKLOAD, autotune, verdict, with_binaries

from flyball.database import open_database
from flyball.history.records import TrialRecord
from flyball.history.store import History
from flyball.runner.process_tree import descendants

NAME = "nightly"
SPACE = "knobs:\n  micro_batch: [1, 2, 4, 8]\n"
SEARCH_RUNS = 3
"""The space has so many points beside the user's own."""
STEPPING = b"step 5 "
LONGEST_RUN_SECONDS = 300.0
KILLED = {2: "flyball", 7: "the job"}
"""Which of the runs, counted from 0, is killed in the middle, and what of it."""


def main() -> int:
    """Make the runs; the exit status says whether the two studies agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-plain", action="store_true", help="leave the plain study out")
    arguments = parser.parse_args()
    with_binaries()
    # Threads that wait for each other measure the neighbours where cores are shared.
    os.environ["OMP_NUM_THREADS"] = "1"
    folder = Path(tempfile.mkdtemp(prefix="flyball-run-study-"))
    command = prepare(folder, arguments.steps)
    began = time.monotonic()
    statuses = [
        one_run(folder, command, arguments.seed, killed=KILLED.get(run)) for run in range(arguments.runs)
    ]
    seconds = time.monotonic() - began
    trials = recorded(folder)
    for trial in trials:
        rate = f"{trial.samples_per_second:.1f} samples/s" if trial.samples_per_second else ""
        print(f"  {trial.number:>2}  {trial.phase:<13} {changes(trial):<16} {trial.outcome} {rate}")
    spread = result(folder / "flyball_results" / NAME)
    print(f"{arguments.runs} runs in {seconds:.0f} s: {told(spread)}", flush=True)
    interrupted = [trial.number for trial in trials if trial.outcome == "interrupted"]
    met = verdict("two runs cut off, none of them counted", f"{interrupted}", met=len(interrupted) == 2)
    unkilled = [status for run, status in enumerate(statuses) if run not in KILLED]
    met &= verdict("every other run ends as its job does", f"{unkilled}", met=not any(unkilled))
    met &= verdict(f"decided in {arguments.runs} runs", spread["verdict"], met=spread["verdict"] != "none")
    if not arguments.no_plain:
        plain = autotune(
            folder / "plain", command, "--space", str(folder / "space.yaml"), "--seed", str(arguments.seed)
        )
        print(f"plain study: {told(plain)}")
        met &= verdict("the same recommendation", told(spread), met=micro(spread) == micro(plain))
    return 0 if met else 1


def prepare(folder: Path, steps: int) -> list[str]:
    """Write config and space; return the command of one run."""
    config = json.loads((WORKLOAD / "ds_config.json").read_text())
    config["train_micro_batch_size_per_gpu"] = 1
    (folder / "ds.json").write_text(json.dumps(config))
    (folder / "space.yaml").write_text(SPACE)
    script, path = str(WORKLOAD / "train.py"), str(folder / "ds.json")
    return ["python", script, "--steps", str(steps), "--deepspeed", "--deepspeed_config", path]


def one_run(folder: Path, command: list[str], seed: int, *, killed: str | None) -> int:
    """Make one production run, killed in the middle where that is wanted; return its status."""
    options = ["--study", NAME, "--search-runs", str(SEARCH_RUNS), "--seed", str(seed)]
    options += ["--space", str(folder / "space.yaml")]
    environment = {**os.environ, "FLYBALL_STATE_DIR": str(folder / "state")}
    log = folder / "log"
    before = log.stat().st_size if log.exists() else 0
    with log.open("ab") as file:
        process = subprocess.Popen(
            [str(BINARIES / "flyball"), "run", *options, "--", *command],
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if killed is not None:
        wait_for(lambda: STEPPING in log.read_bytes()[before:], process)
        below = descendants(process.pid)
        if killed == "flyball":
            process.kill()
        for each in below:
            os.kill(each.pid, signal.SIGKILL)
    return process.wait(timeout=LONGEST_RUN_SECONDS)


def wait_for(seen: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait until something is seen of a process that runs."""
    end = time.monotonic() + LONGEST_RUN_SECONDS
    while not seen():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("the run that was to be killed ended by itself")
        time.sleep(0.1)


def recorded(folder: Path) -> list[TrialRecord]:
    """Every run of the study."""
    with open_database(f"sqlite:///{folder / 'state' / 'history.db'}") as database:
        history = History(database)
        return history.trials(history.find_experiment(NAME).id)


def result(output: Path) -> dict[str, Any]:
    """The study's recommendation.json; the verdict ``none`` before there is one."""
    try:
        content: dict[str, Any] = json.loads((output / "recommendation.json").read_text())
    except FileNotFoundError:
        return {"verdict": "none"}
    return content


def changes(trial: TrialRecord) -> str:
    """What it ran."""
    return f"micro_batch={trial.configuration.ds_config['train_micro_batch_size_per_gpu']}"


def micro(document: dict[str, Any]) -> int | None:
    """The micro batch that a study came to."""
    side = document.get("recommended")
    return side["ds_config"]["train_micro_batch_size_per_gpu"] if side else None


def told(document: dict[str, Any]) -> str:
    """A recommendation in a few words."""
    gain = document.get("speedup") or {}
    text = " {point:.2f}x ({low:.2f} to {high:.2f})".format(**gain) if gain else ""
    return f"{document['verdict']}, micro batch {micro(document)}{text}"


if __name__ == "__main__":
    sys.exit(main())
