"""Trains four square layers with DeepSpeed and prints a line for each step: nearly all of it compresses."""

import argparse
import os
import sys

import deepspeed
import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", type=int, default=int(os.environ.get("LOCAL_RANK", "0")))
    parser.add_argument("--steps", type=int, default=1000)
    deepspeed.add_config_arguments(parser)
    arguments = parser.parse_args()
    deepspeed.init_distributed(dist_backend="gloo")
    torch.manual_seed(7)
    model = torch.nn.Sequential(*(torch.nn.Linear(256, 256) for _ in range(4)))
    engine, *_ = deepspeed.initialize(args=arguments, model=model, model_parameters=model.parameters())
    rank = deepspeed.comm.get_rank()
    generator = torch.Generator().manual_seed(rank)
    for step in range(1, arguments.steps + 1):
        loss = engine(torch.randn(4, 256, generator=generator)).square().mean()
        engine.backward(loss)
        engine.step()
        if rank == 0:
            sys.stdout.write(f"step {step} loss {loss.item():.6f}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
