"""A tiny model whose data come from the engine's step, with dropout, that fails in the way that is asked for.

A fault that is to happen once leaves the file ``failed`` behind.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import deepspeed
import torch

CONFIG = {
    "train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.01, "torch_adam": True}},
    "zero_optimization": {"stage": 1},
}


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--hang-at", type=int)
    parser.add_argument("--always-raise-at", type=int)
    parser.add_argument("--damage-newest-and-raise-at", type=int)
    parser.add_argument("--limit-files-after", type=int)
    parser.add_argument("--save-every", type=int)
    args, _ = parser.parse_known_args()
    if "RANK" not in os.environ:
        alone = {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "0",
        }
        os.environ.update(alone)
    deepspeed.init_distributed("gloo")
    torch.manual_seed(1)
    model = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.Dropout(0.5), torch.nn.Linear(32, 1))
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=CONFIG)
    torch.manual_seed(100 + int(os.environ["RANK"]))
    failed = Path("failed")
    while engine.global_steps < args.steps:
        step = engine.global_steps + 1
        if args.slow:
            time.sleep(0.3)
        if step == args.always_raise_at:
            raise ValueError(f"sample {step} is empty")
        if step == args.damage_newest_and_raise_at and not failed.exists():
            failed.touch()
            newest = Path(os.environ["FLYBALL_STATE_DIR"], "runs", "job", "checkpoints", "step-4")
            next(newest.glob("*optim_states.pt")).write_bytes(b"torn")
            raise ValueError("after the damage")
        if step == args.hang_at and not failed.exists():
            failed.touch()
            time.sleep(3600)
        if step - 1 == args.limit_files_after:
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, resource.RLIM_INFINITY))
        train_step(engine, step)
        if args.save_every and engine.global_steps % args.save_every == 0:
            engine.save_checkpoint("own")
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def train_step(engine: deepspeed.DeepSpeedEngine, step: int) -> None:
    """One optimizer step on what this step and rank see."""
    generator = torch.Generator().manual_seed(1000 * step + int(os.environ["RANK"]))
    for _ in range(engine.gradient_accumulation_steps()):
        inputs = torch.randn(engine.train_micro_batch_size_per_gpu(), 16, generator=generator)
        loss = (engine(inputs) - inputs.sum(1, keepdim=True)).square().mean()
        engine.backward(loss)
        engine.step()


if __name__ == "__main__":
    main()
