"""How often the default policies fire where nothing is wrong; asked: never.

python tests/benchmarks quiet [--minutes 30] [--study 3m] [--record 120]

Plays a run that was recorded on this project's CPU machine (two gloo ranks that checkpoint and evaluate) as
one of half an hour, an idle GPU beside it, with its start and its end. ``--study`` also lets a real agent
watch the trials of a real study. ``--record`` makes the recording anew, of so many seconds.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from _runs import BINARIES, reference_command, verdict, with_binaries
from tests.live.agent_process import running
from tests.live.test_workload import free_port
from tests.policies.quiet_replay import DATA, RANKS, Replay

from flyball.database import open_database
from flyball.history.alert_log import AlertLog
from flyball.runner.probe_install import install

MINUTE = 60.0
CONFIG = {
    "train_micro_batch_size_per_gpu": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}
TRAIN = """
import argparse, os, time, deepspeed, torch
parser = deepspeed.add_config_arguments(argparse.ArgumentParser())
parser.add_argument("--local_rank", type=int, default=int(os.environ["LOCAL_RANK"]))
parser.add_argument("--seconds", type=float)
args = parser.parse_args()
deepspeed.init_distributed(dist_backend="gloo")
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(512, 512), torch.nn.ReLU(), torch.nn.Linear(512, 512))
engine, *_ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
begin, step = time.monotonic(), 0
while True:
    step += 1
    inputs = torch.randn(64, 512)
    loss = (engine(inputs) - inputs).square().mean()
    engine.backward(loss)
    engine.step()
    if step % 100 == 0:
        engine.save_checkpoint("checkpoints", tag="last")
        engine.eval()
        with torch.no_grad():
            for _ in range(20):
                engine(torch.randn(64, 512))
        engine.train()
        over = torch.tensor([float(time.monotonic() - begin > args.seconds)])
        torch.distributed.broadcast(over, 0)
        if over.item():
            break
deepspeed.comm.destroy_process_group()
"""


def record(seconds: float) -> None:
    """Run for real, and keep the journals beside this file."""
    folder = Path(tempfile.mkdtemp(prefix="flyball-quiet-"))
    runs = folder / "runs" / "job"
    runs.mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN, "utf-8")
    (folder / "ds.json").write_text(json.dumps(CONFIG), "utf-8")
    given = {
        "run": "job",
        "purpose": "run",
        "directory": str(runs),
        "ping_every_steps": 50,
        "max_records_per_second": 4.0,
        "budget_ratio": 1e9,
    }
    launcher = [str(BINARIES / "torchrun"), "--nproc_per_node", "2", "--master_port", free_port(), "train.py"]
    subprocess.run(
        [*launcher, "--deepspeed_config", str(folder / "ds.json"), "--seconds", str(seconds)],
        env={
            **os.environ,
            **install(folder / "probe", given),
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
        },
        cwd=folder,
        check=True,
    )
    for rank in RANKS:
        lines = (runs / f"rank-{rank}.jsonl").read_text("utf-8").splitlines()
        told = [json.loads(line) for line in lines]
        for name in ("command", "launcher", "working_directory", "config", "host", "pid_namespace"):
            told[0].pop(name, None)
        text = "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in told)
        (DATA / f"healthy_rank-{rank}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def replayed(minutes: float) -> int:
    """Play the recording; return the transitions to firing."""
    replay = Replay(root=Path(tempfile.mkdtemp(prefix="flyball-quiet-")) / "runs")
    total = 0
    for what, act, span in (
        ("an idle GPU", lambda: None, minutes),
        ("a run that starts, and goes on", replay.start, minutes),
        ("its end", replay.finish, 10),
    ):
        act()
        replay.live(span * MINUTE)
        fired = sum(replay.fired.values()) - total
        print(f"{what:<34} {span:>5.0f} minutes, {fired} fired {dict(replay.fired)}", flush=True)
        total += fired
    return total


def studied(budget: str) -> int:
    """Run a study that an agent watches, trials and all; return how many alerts it raised."""
    with_binaries()
    folder = Path(tempfile.mkdtemp(prefix="flyball-quiet-study-"))
    results = folder / "results"
    (folder / "runs").symlink_to(results / "trials")
    with running(folder, "", [str(BINARIES / "flyball")]) as agent:
        agent.url()
        began = time.monotonic()
        command = [str(BINARIES / "flyball"), "autotune", "--budget", budget, "--output", str(results)]
        subprocess.run([*command, "--", *reference_command()], cwd=folder, check=True)
        print(f"a study of {time.monotonic() - began:.0f} s", flush=True)
        agent.end()
    with closing(open_database(f"sqlite:///{folder / 'state' / 'agent.db'}")) as database:
        found = AlertLog(database).alerts()
    fired = [each.alert.rule for each in found if each.alert.fired_time is not None]
    print(f"{'a whole study':<34} {len(fired)} fired {fired}")
    return len(fired)


def main() -> int:
    """Play, and watch a study where asked; the exit status says whether all was quiet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--study", default="", metavar="BUDGET", help="watch a study of this budget too")
    parser.add_argument(
        "--record", type=float, default=0.0, metavar="SECONDS", help="make the recording anew"
    )
    arguments = parser.parse_args()
    if arguments.record:
        record(arguments.record)
    fired = replayed(arguments.minutes) + (studied(arguments.study) if arguments.study else 0)
    return 0 if verdict("nothing fires", f"{fired} fired", met=fired == 0) else 1


if __name__ == "__main__":
    sys.exit(main())
