"""Trains one linear layer, keeps checkpoints in ./ckpt and goes on from them: a script with a habit."""

import argparse
from pathlib import Path

import deepspeed
import torch


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--local_rank", type=int, default=-1)
    deepspeed.add_config_arguments(parser)
    arguments = parser.parse_args()
    deepspeed.init_distributed()
    torch.manual_seed(7)
    model = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 1))
    engine, *_ = deepspeed.initialize(args=arguments, model=model, model_parameters=model.parameters())
    first = 0
    if Path("ckpt/latest").exists():
        _, state = engine.load_checkpoint("ckpt")
        first = state["step"]
    generator = torch.Generator().manual_seed(deepspeed.comm.get_rank())
    for step in range(first, 2000):
        for _ in range(engine.gradient_accumulation_steps()):
            inputs = torch.randn(engine.train_micro_batch_size_per_gpu(), 64, generator=generator)
            engine.backward(engine(inputs).square().mean())
            engine.step()
        if step % 10 == 0:
            engine.save_checkpoint("ckpt", client_state={"step": step})


if __name__ == "__main__":
    main()
