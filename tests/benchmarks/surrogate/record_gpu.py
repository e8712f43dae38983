"""Record on one GPU what the simulated studies stand on: noise between runs, and a grid of configurations.

python tests/benchmarks/surrogate/record_gpu.py FILE.json [--runs 40] [--grid-seconds 150]

Needs torch alone: a GPT of its own, stepped as DeepSpeed steps it (a synchronization each micro step unless
``sync`` is off). A noise run is a process of its own, forked before CUDA is touched.
"""

import argparse
import itertools
import json
import multiprocessing
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

VOCABULARY = 8192
GLOBAL_BATCH = 32


class Block(nn.Module):
    """One layer of a GPT."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = width // 64
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(self.first(x)).view(b, t, 3, self.heads, 64).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
        return x + self.down(functional.gelu(self.up(self.second(x))))


class Model(nn.Module):
    """A GPT that returns its loss."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCABULARY, width), nn.Linear(width, VOCABULARY)
        self.blocks = nn.ModuleList(Block(width) for _ in range(layers))
        self.recompute = False

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        return functional.cross_entropy(self.head(x).flatten(0, 1).float(), ids.flatten())


def stepper(
    width, layers, sequence, micro, accumulation, *, fused, recompute=False, sync=True, compiled=False
):
    """Return a function that makes one optimizer step and waits for it."""
    model = Model(width, layers).cuda().bfloat16()
    model.recompute = recompute
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=fused)
    forward = torch.compile(model) if compiled else model
    ids = torch.randint(VOCABULARY, (micro, sequence), device="cuda")

    def step():
        for _ in range(accumulation):
            forward(ids).backward()
            if sync:
                torch.cuda.synchronize()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()

    return step


def noise_run(steps, began, sender):
    """Send start-up seconds and the microseconds of each step of one fresh run."""
    step = stepper(512, 8, 256, 4, 2, fused=False)
    step()
    started, times = time.time() - began, []
    for _ in range(steps):
        at = time.perf_counter_ns()
        step()
        times.append((time.perf_counter_ns() - at) // 1000)
    sender.send((round(started, 3), times))


def noise(runs, steps):
    """Return start-ups and step times of fresh runs, in the order in which they were made."""
    context = multiprocessing.get_context("fork")
    made = []
    for _ in range(runs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=noise_run, args=(steps, time.time(), sender))
        process.start()
        made.append(receiver.recv())
        process.join()
    return made


def grid(seconds):
    """Return rate and reserved memory of as many configurations as the time holds, the cheap ones first."""
    points = [
        (micro, fused, recompute, sync, compiled)
        for compiled, micro in itertools.product((False, True), (2, 4, 8, 16, 32))
        for recompute, fused, sync in itertools.product((False, True), repeat=3)
        if not (compiled and recompute)
    ]
    began, found = time.monotonic(), []
    for micro, fused, recompute, sync, compiled in points:
        if time.monotonic() - began > seconds:
            break
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        at = time.monotonic()
        step = stepper(
            768, 12, 512, micro, GLOBAL_BATCH // micro,
            fused=fused, recompute=recompute, sync=sync, compiled=compiled,
        )  # fmt: skip
        step()
        first = time.monotonic() - at
        times = []
        for _ in range(4):
            at = time.monotonic()
            step()
            times.append(time.monotonic() - at)
        found.append(
            {
                "micro_batch": micro,
                "fused": fused,
                "recompute": recompute,
                "sync": sync,
                "compiled": compiled,
                "samples_per_second": round(GLOBAL_BATCH / sorted(times)[1], 2),
                "reserved_bytes": torch.cuda.max_memory_reserved(),
                "first_seconds": round(first, 2),
            }
        )
    return found


def main():
    """Record and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--runs", type=int, default=40)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--grid-seconds", type=float, default=150.0)
    arguments = parser.parse_args()
    made = noise(arguments.runs, arguments.steps)
    rows = grid(arguments.grid_seconds) if arguments.grid_seconds else []
    about = {
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(),
        "unit": "microseconds a step",
    }
    parts = [f'{{"about": {json.dumps(about)}', f'"startups": {json.dumps([each for each, _ in made])}']
    parts.append('"runs": [\n' + ",\n".join(json.dumps(t, separators=(",", ":")) for _, t in made) + "\n]")
    parts.append('"grid": [\n' + ",\n".join(map(json.dumps, rows)) + "\n]}")
    arguments.path.write_text(",\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
