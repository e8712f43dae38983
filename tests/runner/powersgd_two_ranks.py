"""One of two gloo ranks that reduce gradients through the compressor; writes what it saw as JSON."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist

from flyball.runner.probe.powersgd import Compressor

SHAPES = [(8, 64, 32), (64, 64), (64,)]
rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)


def engine() -> Any:
    """What the compressor asks of a DeepSpeed engine."""
    return SimpleNamespace(
        optimizer=SimpleNamespace(cur_scale=1.0),
        flatten=torch._utils._flatten_dense_tensors,
        communication_data_type=torch.float32,
        gradient_average=True,
    )


def random_gradients(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1000 * rank + seed)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def reduce(
    compressor: Compressor, gradients: list[torch.Tensor], *, applied: bool = True, **sizes: Any
) -> Any:
    flat = compressor.allreduce_bucket(gradients, dist.group.WORLD, **sizes)
    return flat, list(compressor.end_step(applied=applied))


def only_error(compressor: Compressor) -> torch.Tensor:
    (state,) = compressor.states.values()
    (error,) = state.error_dict.values()
    return error.clone()


found: dict[str, Any] = {"bytes": [], "sums": []}
compressor = Compressor(engine(), {"rank": 1, "start_step": 2})
found["model_bytes"] = 4 * sum(torch.Size(shape).numel() for shape in SHAPES)

for step in range(4):
    flat, counted = reduce(compressor, random_gradients(step))
    found["bytes"].append(counted)
    found["sums"].append(flat.double().sum().item())
    if step == 0:
        total = torch._utils._flatten_dense_tensors(random_gradients(step))
        dist.all_reduce(total)
        found["dense_average"] = (flat - total / 2).abs().max().item()

before = only_error(compressor)
broken = random_gradients(9)
broken[0][3, 5, 7] = float("inf") if rank else 0.0
reduce(compressor, broken, applied=False)
found["error_restored"] = torch.equal(before, only_error(compressor))
found["after_skip_finite"] = bool(reduce(compressor, random_gradients(10))[0].isfinite().all())

before = only_error(compressor)
compressor.engine.optimizer.cur_scale = 4.0
compressor._begin_step()
found["error_ratio"] = (only_error(compressor).norm() / before.norm()).item()

unused = Compressor(engine(), {"rank": 1, "start_step": 2})
for step in range(5):
    gradients = random_gradients(step)
    gradients[0][2].zero_()
    flat, _ = reduce(unused, gradients if step < 3 else [torch.zeros(shape) for shape in SHAPES])
found["zero_gradient_finite"] = bool(flat.isfinite().all())

low = Compressor(engine(), {"rank": 1, "start_step": 2})
columns = torch.linspace(1, 2, 64)
for _ in range(4):
    # The same direction on both ranks, at 1 and 3 times its length: the average is twice, and of rank one.
    flat, _ = reduce(low, [torch.outer(columns, columns) * (1 + 2 * rank)])
found["low_rank_error"] = (flat.view(64, 64) - 2 * torch.outer(columns, columns)).abs().max().item()

scaled = Compressor(engine(), {})
found["scaled_by_four"] = reduce(scaled, [torch.ones(64)], dp_world_size=4)[0][0].item()
scaled.engine.gradient_average = False
found["summed"] = reduce(scaled, [torch.ones(64)])[0][0].item()

(folder / f"rank-{rank}.json").write_text(json.dumps(found))
dist.barrier()
# A thread of gloo's that wants Python's lock in a closing interpreter aborts the process: do not close it.
sys.stdout.flush()
os._exit(0)
