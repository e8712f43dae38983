"""Two gloo ranks that take steps under the in-band ping-pong, with a journal in FOLDER/SCENARIO/RANK.

ping_two_ranks.py FOLDER SCENARIO...

Both ranks of all scenarios are forked from one process, which has imported torch.
"""

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import watched

from flyball.runner.probe import ping
from flyball.runner.probe.meter import ATTRIBUTE
from flyball.runner.probe.watch import Probe

STEPS = 6


def boundary(engine: Any) -> None:
    """A training step ends as it does in a job: all ranks have waited for one another."""
    dist.all_reduce(torch.zeros(1))
    engine._take_model_step()


def broken(*_: Any) -> Any:
    raise ValueError("broken on purpose")


def train(engine: Any, probe: Probe, rank: int, scenario: str) -> None:
    for step in range(STEPS):
        if rank == 1 and step == 2 and scenario == "one switches off":
            probe.off("told to")
        if rank == 1 and step == 2 and scenario == "steps are not the same":
            dist.all_reduce(torch.zeros(1))
        elif rank == 1 and step == 2 and scenario == "a fault":
            pairs, ping.pairs = ping.pairs, broken
            boundary(engine)
            ping.pairs = pairs
        else:
            boundary(engine)


def run(rank: int, folder: Path, scenario: str) -> None:
    # Short only where the one waited for does not come: on a busy machine one who comes may come late.
    ping.AGREE_SECONDS = 0.5 if scenario == "one is not watched" else PATIENCE_SECONDS
    ping.MEET_SECONDS = 0.5 if scenario == "steps are not the same" else PATIENCE_SECONDS
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    every = 2 if scenario == "settings differ" and rank == 1 else 1
    every = 0 if scenario == "one is not watched" and rank == 1 else every
    with watched(folder / str(rank), ping_every_steps=every) as (engine, probe):
        ping.begin(probe, engine, engine.__dict__[ATTRIBUTE])
        train(engine, probe, rank, scenario)
        probe.finish("exit")
    # Whoever made a group that the other one did not make would stand alone here.
    dist.all_reduce(torch.zeros(1), group=dist.new_group())
    dist.destroy_process_group()


def forked(rank: int, folder: Path, scenario: str) -> int:
    """Run one rank in a process of its own; return its number."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        run(rank, folder, scenario)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    for scenario in sys.argv[2:]:
        folder = Path(sys.argv[1], scenario)
        folder.mkdir()
        ranks = [forked(rank, folder, scenario) for rank in range(2)]
        statuses = [os.waitpid(rank, 0)[1] for rank in ranks]
        if any(statuses):
            sys.exit(f"failed: {scenario}")
