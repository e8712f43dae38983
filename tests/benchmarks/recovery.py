"""kill -9 of a rank at random steps under ``flyball run``: are the weights those of an uninterrupted run?

python tests/benchmarks recovery [--kills 10] [--seed 0] [--steps 60] [--every 5]
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from _runs import BINARIES, verdict, with_binaries

import flyball.runner
from flyball.runner.probe.heartbeat import read_heartbeats

WORKLOAD = Path(flyball.runner.__file__).parent / "workload"
MODEL = ("--hidden-size", "32", "--layers", "2", "--experts", "2", "--sequence-length", "16")
LONGEST_SECONDS = 60.0


def main() -> int:
    """Kill, wait for the end, compare; the exit status says whether all was as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--port", default="29641")
    arguments = parser.parse_args()
    with_binaries()
    folder = Path(tempfile.mkdtemp(prefix="flyball-recovery-"))
    draw = random.Random(arguments.seed)
    kills = sorted(draw.sample(range(1, arguments.steps), arguments.kills))
    print(f"{folder}: kills once these steps are made: {kills}", flush=True)
    whole = start(folder, "whole", arguments)
    met = verdict("the uninterrupted run ends well", f"exit status {whole.wait()}", met=whole.returncode == 0)
    killed = start(folder, "killed", arguments)
    for step in kills:
        kill_at(folder / "state" / "runs" / "killed", step, draw.randrange(2), killed)
    status = killed.wait()
    met &= verdict("the killed run ends well", f"exit status {status}", met=status == 0)
    restarts = json.loads((folder / "killed.json").read_text())["restarts"]
    for restart in restarts:
        print(
            f"  killed after step {restart['after_step']}, from {restart['step']}: {restart['seconds']:.1f} s"
        )
    seconds = [restart["seconds"] for restart in restarts]
    met &= verdict("one restart a kill", f"{len(restarts)} restarts", met=len(restarts) == arguments.kills)
    text = f"median {statistics.median(seconds):.1f} s, longest {max(seconds):.1f} s"
    met &= verdict("each recovery below 60 s", text, met=max(seconds) < LONGEST_SECONDS)
    last = arguments.steps - arguments.steps % arguments.every
    differing = differences(*(folder / name / name / f"step-{last}" for name in ("whole", "killed")))
    met &= verdict(
        f"weights and optimizer equal at step {last}", f"{len(differing)} differ", met=not differing
    )
    return 0 if met else 1


def start(folder: Path, name: str, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    """Start the reference workload on two ranks, to be started again after each kill."""
    options = [
        *("--name", name, "--json", str(folder / f"{name}.json"), "--checkpoint-dir", str(folder / name)),
        *("--checkpoint-every", str(arguments.every), "--max-restarts", str(arguments.kills)),
    ]
    launcher = [str(BINARIES / "torchrun"), "--nproc_per_node", "2", "--master_port", arguments.port]
    script = [str(WORKLOAD / "train.py"), *MODEL, "--steps", str(arguments.steps)]
    config = ["--deepspeed_config", str(WORKLOAD / "ds_config.json")]
    with (folder / f"{name}.log").open("wb") as log:
        return subprocess.Popen(
            [str(BINARIES / "flyball"), "run", *options, "--", *launcher, *script, *config],
            env={**os.environ, "FLYBALL_STATE_DIR": str(folder / "state"), "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def kill_at(run: Path, step: int, rank: int, process: subprocess.Popen[bytes]) -> None:
    """kill -9 of a rank as soon as a process of this run that was not killed yet has made the step."""
    while process.poll() is None:
        beats = {beat["rank"]: beat for beat in read_heartbeats(str(run))} if run.is_dir() else {}
        beat = beats.get(rank)
        if beat is not None and beat["step"] is not None and beat["step"] >= step and is_alive(beat["pid"]):
            os.kill(beat["pid"], signal.SIGKILL)
            while is_alive(beat["pid"]):
                time.sleep(0.005)
            return
        time.sleep(0.005)
    raise SystemExit(f"the run ended before step {step}: exit status {process.returncode}")


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text[text.rindex(")") + 2] not in "ZX"


def differences(one: Path, other: Path) -> list[str]:
    """Where two checkpoints differ in any bit of a tensor of the model's or the optimizer's."""
    found: list[str] = []
    names = sorted(path.name for path in one.glob("*_states.pt"))
    if not names or names != sorted(path.name for path in other.glob("*_states.pt")):
        return ["files"]
    for name in names:
        pair = [torch.load(folder / name, map_location="cpu", weights_only=False) for folder in (one, other)]
        for key in ("module", "optimizer", "optimizer_state_dict", "lr_scheduler", "global_steps"):
            compare(f"{name}:{key}", pair[0].get(key), pair[1].get(key), found)
    return found


def compare(where: str, one: object, other: object, found: list[str]) -> None:
    """Add the places in which two nested states differ."""
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        if not torch.equal(one, other):
            found.append(where)
    elif isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        for key, value in one.items():
            compare(f"{where}.{key}", value, other[key], found)
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for index, (left, right) in enumerate(zip(one, other, strict=True)):
            compare(f"{where}[{index}]", left, right, found)
    elif isinstance(one, int | float | str | bool | None) and one != other:
        found.append(where)


if __name__ == "__main__":
    sys.exit(main())
