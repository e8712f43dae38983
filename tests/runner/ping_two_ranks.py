"""One of two gloo ranks that take steps under the in-band ping-pong, with a journal in FOLDER/RANK.

ping_two_ranks.py RANK FOLDER SCENARIO
"""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from tests.patience import PATIENCE_SECONDS
from tests.runner.probe_fakes import watched

from flyball.runner.probe import ping
from flyball.runner.probe.meter import ATTRIBUTE
from flyball.runner.probe.watch import Probe

rank, folder, scenario = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
# Short only where somebody is waited for who does not come: on a busy machine one who comes may come late.
ping.AGREE_SECONDS = ping.MEET_SECONDS = PATIENCE_SECONDS
if scenario == "steps are not the same":
    ping.MEET_SECONDS = 0.5
if scenario == "one is not watched":
    ping.AGREE_SECONDS = 0.5
STEPS = 6


def boundary(engine: Any) -> None:
    """A training step ends as it does in a job: all ranks have waited for one another."""
    dist.all_reduce(torch.zeros(1))
    engine._take_model_step()


def broken(*_: Any) -> Any:
    raise ValueError("broken on purpose")


def train(engine: Any, probe: Probe) -> None:
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


dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
every = 2 if scenario == "settings differ" and rank == 1 else 1
every = 0 if scenario == "one is not watched" and rank == 1 else every
with watched(folder / str(rank), ping_every_steps=every) as (engine, probe):
    ping.begin(probe, engine, engine.__dict__[ATTRIBUTE])
    train(engine, probe)
    probe.finish("exit")
# Whoever made a group that the other one did not make would stand alone here.
dist.all_reduce(torch.zeros(1), group=dist.new_group())
dist.destroy_process_group()
