"""Trains a GPT of 124 M parameters at sequence 1024 on the Python standard library: plain torch, one file.

    deepspeed --num_gpus 1 train.py --deepspeed --deepspeed_config ds_config.json

The model follows GPT-2 (Radford et al., "Language Models are Unsupervised Multitask Learners", 2019):
learned positions, normalization before each block, GELU, the embedding tied to the head. Tokens are bytes;
the vocabulary keeps GPT-2's size, rounded up to a multiple of 128, so that the head costs what it did.
"""

import argparse
import sysconfig
import time
from pathlib import Path

import deepspeed
import torch
from torch import nn
from torch.nn import functional

TEXT_BYTES = 2 * 1024 * 1024


class Block(nn.Module):
    """One transformer layer; keeps the shape (micro batch, sequence, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Attend to what came before, then the MLP."""
        batch, sequence, width = hidden.shape
        parts = self.query_key_value(self.norm_attention(hidden)).split(width, dim=2)
        query, key, value = (
            part.view(batch, sequence, self.heads, width // self.heads).transpose(1, 2) for part in parts
        )
        attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.projection(attended.transpose(1, 2).reshape(batch, sequence, width))
        return hidden + self.mlp(self.norm_mlp(hidden))


class Gpt(nn.Module):
    """A decoder that returns the mean loss of each token given those before it."""

    def __init__(self, *, vocabulary: int, sequence: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(sequence, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight
        self.apply(_initialize)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Map tokens of shape (micro batch, sequence) to a loss."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        hidden = self.tokens(tokens) + self.positions(places)
        for block in self.blocks:
            hidden = block(hidden)
        logits = self.head(self.norm(hidden))
        return functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten())


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


def standard_library() -> torch.Tensor:
    """The library's sources as one run of bytes."""
    text = bytearray()
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text += path.read_bytes()
        if len(text) >= TEXT_BYTES:
            break
    return torch.frombuffer(text, dtype=torch.uint8)


def micro_batch(text: torch.Tensor, first: int, count: int, sequence: int) -> torch.Tensor:
    """Samples from ``first`` on, of shape (count, sequence); after the last one the text begins anew."""
    samples = len(text) // sequence
    rows = [text[(index % samples) * sequence :][:sequence] for index in range(first, first + count)]
    return torch.stack(rows).long()


def train_step(engine: deepspeed.DeepSpeedEngine, text: torch.Tensor, sequence: int) -> float:
    """Make one optimizer step: the same samples however the global batch is cut. Return this rank's loss."""
    size, losses = engine.train_micro_batch_size_per_gpu(), []
    share = engine.train_batch_size() // deepspeed.comm.get_world_size()
    first = engine.global_steps * engine.train_batch_size() + deepspeed.comm.get_rank() * share
    for _ in range(engine.gradient_accumulation_steps()):
        loss = engine(micro_batch(text, first, size, sequence).to(engine.device))
        engine.backward(loss)
        engine.step()
        losses.append(loss.detach())
        first += size
    return float(torch.stack(losses).mean())


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train a GPT on the Python standard library.")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--sequence", type=int, default=1024)
    parser.add_argument("--vocabulary", type=int, default=50304)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--local_rank", type=int, default=-1, help="set by the launcher")
    deepspeed.add_config_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Train, with one printed line a step."""
    args = parse_arguments()
    deepspeed.init_distributed()
    torch.manual_seed(0)
    shape = {name: getattr(args, name) for name in ("vocabulary", "sequence", "layers", "width", "heads")}
    model = Gpt(**shape)
    engine, *_ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
    text = standard_library()
    while engine.global_steps < args.steps:
        started = time.perf_counter()
        loss = train_step(engine, text, args.sequence)
        rate = engine.train_batch_size() / (time.perf_counter() - started)
        if deepspeed.comm.get_rank() == 0:
            print(f"step {engine.global_steps} loss {loss:.6f} samples/s {rate:.1f}", flush=True)
    deepspeed.comm.destroy_process_group()


if __name__ == "__main__":
    main()
