"""Makes one engine after the other; prints what its live tensors take at the moments of a step, as JSON."""

import json
import os
import sys

import deepspeed
import torch
from tests.benchmarks._memory_meter import LiveTensors

WIDTH, LAYERS, ROWS = 512, 4, 2


def measure(config: dict) -> dict:
    """Bytes between two steps and at most in each part of the last one; and the model's size."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS)))
    seen = {"parameters": sum(each.numel() for each in model.parameters())}
    with LiveTensors(2**40) as meter:
        engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
        dtype = torch.bfloat16 if "bf16" in config else torch.float32
        for _ in range(2 * engine.gradient_accumulation_steps()):
            # Before the last forward pass of a step: gradients of earlier micro batches are there.
            seen["before"] = meter.allocated()
            meter.reset()
            loss = engine(torch.ones(ROWS, WIDTH, dtype=dtype)).float().square().mean()
            engine.backward(loss)
            del loss
            seen["passes"] = meter.peaks().allocated
            meter.reset()
            engine.step()
            seen["step"], seen["after"] = meter.peaks().allocated, meter.allocated()
    return seen


deepspeed.init_distributed()
for config in json.loads(sys.argv[1]):
    found = measure(config)
    if os.environ["RANK"] == "0":
        sys.stdout.write(f"found {json.dumps(found)}\n")
        sys.stdout.flush()
torch.distributed.destroy_process_group()
