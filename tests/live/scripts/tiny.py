"""Trains one linear layer with DeepSpeed: the smallest script whose losses tell two launches apart."""

import argparse
import os
import sys
import time

import deepspeed
import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", type=int, default=int(os.environ.get("LOCAL_RANK", "0")))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--feed", type=int, default=0, help="samples to feed, 0 for what the config says")
    parser.add_argument("--nan-at", type=int, default=-1)
    deepspeed.add_config_arguments(parser)
    arguments = parser.parse_args()
    deepspeed.init_distributed()
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(32, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    engine, *_ = deepspeed.initialize(args=arguments, model=model, model_parameters=model.parameters())
    generator = torch.Generator().manual_seed(deepspeed.comm.get_rank())
    for step in range(arguments.steps):
        for _ in range(engine.gradient_accumulation_steps()):
            samples = arguments.feed or engine.train_micro_batch_size_per_gpu()
            inputs = torch.randn(samples, 32, generator=generator)
            loss = engine(inputs).square().mean()
            if 0 <= arguments.nan_at <= step:
                loss = loss * float("nan")
            engine.backward(loss)
            engine.step()
        time.sleep(0.03)  # slower than the probe's record rate: every step has its own loss
    sys.stderr.write("Error: this line is no failure\n")


if __name__ == "__main__":
    main()
