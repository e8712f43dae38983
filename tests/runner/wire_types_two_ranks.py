"""One of two gloo ranks that reduce gradients by DeepSpeed's wire type and by torch's hook; JSON of both."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import deepspeed.runtime.engine
import torch
import torch.distributed as dist
from deepspeed.runtime.engine import DeepSpeedEngine
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks

rank, folder = int(sys.argv[1]), Path(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
# Its own layer over torch.distributed would build an op for shared memory first.
deepspeed.runtime.engine.dist = dist
HOOKS = {"fp16": default_hooks.fp16_compress_hook, "bf16": default_hooks.bf16_compress_hook}
TYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def gradients(largest: float) -> torch.Tensor:
    found = torch.randn(512, generator=torch.Generator().manual_seed(rank))
    return found / found.abs().max() * largest


def by_deepspeed(wire: str, gradient: torch.Tensor, *, prescaled: bool) -> torch.Tensor:
    """Average by ``communication_data_type`` at stage 0."""
    engine = SimpleNamespace(
        flatten=torch._utils._flatten_dense_tensors,
        communication_data_type=TYPES[wire],
        gradient_average=True,
        postscale_gradients=lambda: not prescaled,
        gradient_predivide_factor=lambda: 1.0,
    )
    made: torch.Tensor = DeepSpeedEngine.allreduce_bucket(engine, [gradient], dist.group.WORLD)
    return made


def by_hook(wire: str, gradient: torch.Tensor) -> torch.Tensor:
    """Average by torch's DDP hook."""
    bucket: Any = SimpleNamespace(buffer=lambda: gradient)
    made: torch.Tensor = HOOKS[wire](dist.group.WORLD, bucket).wait()
    return made


def compared(wire: str, largest: float, *, prescaled: bool) -> dict[str, bool]:
    ours = by_deepspeed(wire, gradients(largest), prescaled=prescaled)
    theirs = by_hook(wire, gradients(largest))
    return {"equal": torch.equal(ours, theirs), "finite": bool(ours.isfinite().all())}


found = {
    f"{wire} {size} {'prescaled' if prescaled else 'postscaled'}": compared(
        wire, largest, prescaled=prescaled
    )
    for wire in HOOKS
    for size, largest in (("small", 1.0), ("large", 60_000.0))
    for prescaled in (False, True)
}
(folder / f"{rank}.json").write_text(json.dumps(found))
dist.destroy_process_group()
