"""Trains a small DeepSeek-V3 on the source files of the Python standard library.

    deepspeed --num_gpus 2 train.py --deepspeed --deepspeed_config ds_config.json

It also runs under torchrun, and as plain ``python train.py ...`` in one process.
"""

import argparse
import os
import time

import deepspeed
import torch
from chunked_loss import ChunkedLossModel
from corpus import Corpus, sample_indices, standard_library
from model import add_arguments, model_config, token_batch
from transformers import DeepseekV3ForCausalLM


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a small DeepSeek-V3 on the Python standard library.")
    add_arguments(parser)
    parser.add_argument("--gradient-checkpointing", choices=("on", "off"), default="off")
    parser.add_argument(
        "--loss-chunks",
        type=int,
        default=1,
        metavar="N",
        help="parts of the sequence that make logits in turn",
    )
    parser.add_argument("--save", metavar="DIR", help="folder for checkpoints")
    parser.add_argument("--save-every", type=int, default=100, metavar="STEPS")
    parser.add_argument("--resume", metavar="DIR", help="go on from the newest checkpoint in DIR")
    deepspeed.add_config_arguments(parser)
    args = parser.parse_args()
    if not 1 <= args.loss_chunks <= args.sequence_length:
        parser.error(
            f"--loss-chunks {args.loss_chunks}: write 1 to {args.sequence_length}, the sequence length"
        )
    return args


def join_processes() -> None:
    """Join the ranks that a launcher started, or be the only one."""
    if "RANK" not in os.environ:
        alone = {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": "0",
        }
        os.environ.update(alone)
    deepspeed.init_distributed()


def build_engine(args: argparse.Namespace) -> deepspeed.DeepSpeedEngine:
    """Put the model in a DeepSpeed engine, resumed where that was asked for."""
    torch.manual_seed(args.seed)
    config = model_config(args)
    chunked = args.loss_chunks > 1
    model = ChunkedLossModel(config, chunks=args.loss_chunks) if chunked else DeepseekV3ForCausalLM(config)
    if args.gradient_checkpointing == "on":
        model.gradient_checkpointing_enable({"use_reentrant": False})
    engine, *_ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
    if args.resume:
        engine.load_checkpoint(args.resume)
    return engine


def train_step(engine: deepspeed.DeepSpeedEngine, corpus: Corpus) -> float:
    """Make one optimizer step; return this rank's mean loss."""
    losses = []
    step = engine.global_steps
    for micro_step in range(engine.gradient_accumulation_steps()):
        indices = sample_indices(
            step=step,
            micro_step=micro_step,
            rank=deepspeed.comm.get_rank(),
            ranks=deepspeed.comm.get_world_size(),
            micro_batch=engine.train_micro_batch_size_per_gpu(),
            global_batch=engine.train_batch_size(),
        )
        tokens = token_batch(corpus, indices).to(engine.device)
        loss = engine(input_ids=tokens, labels=tokens).loss
        engine.backward(loss)
        engine.step()
        losses.append(loss.detach())
    return float(torch.stack(losses).mean())


def main() -> None:
    """Train, with one printed line a step."""
    args = parse_arguments()
    join_processes()
    engine = build_engine(args)
    corpus = Corpus(standard_library(), sequence_length=args.sequence_length, seed=args.seed)
    while engine.global_steps < args.steps:
        started = time.perf_counter()
        loss = train_step(engine, corpus)
        rate = engine.train_batch_size() / (time.perf_counter() - started)
        if deepspeed.comm.get_rank() == 0:
            print(f"step {engine.global_steps} loss {loss:.6f} samples/s {rate:.1f}", flush=True)
        if args.save and engine.global_steps % args.save_every == 0:
            engine.save_checkpoint(args.save)
    deepspeed.comm.destroy_process_group()


if __name__ == "__main__":
    main()
