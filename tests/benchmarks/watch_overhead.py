"""Step time of a real DeepSpeed engine, watched by probe and agent, over the same unwatched, in one process.

Blocks of steps take turns: in one the probe writes its journal and the agent reads it and the GPUs once a
second; in the other the probe is off and the agent is stopped (SIGSTOP). The order within each pair is drawn
by lot, and the ratio of each pair is what counts: its median, with a 95% interval by bootstrap.

    python tests/benchmarks watch_overhead --pairs 100 --steps 50 --dense 4096 --layers 4 --micro-batch 4096 \
        --float32

A model of many small kernels is as noisy as the host, and bf16 products as noisy as the card's power cap:
--dense makes a model of large products, --float32 keeps them under the cap and the device busy for longer
than the host. What a step that waits for the host pays on top is in ``probe_overhead``, in microseconds.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORKLOAD = Path(__file__).parents[2] / "runner" / "workload"
RESAMPLES = 4000
ASKED, AIM = 1.005, 1.002


@contextlib.contextmanager
def agent(folder: Path) -> Iterator[int]:
    """Yield the process id of an agent at 1 Hz that watches ``folder``'s runs, once it listens."""
    config = folder / "flyball.yaml"
    config.write_text(f"listen: 127.0.0.1:0\nstate_folder: {folder}/state\nrun_folders: [{folder}/runs]\n")
    command = [str(Path(sys.executable).with_name("flyball")), "agent", "--config", str(config)]
    with (
        (folder / "agent.log").open("w") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        assert re.search("https?://", process.stdout.readline())
        try:
            yield process.pid
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


def engine_under_probe(folder: Path, given: argparse.Namespace) -> tuple[Any, Any, Any]:
    """A real engine with its meter, the probe, and a batch on its device."""
    os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    os.environ.setdefault("MASTER_PORT", "29777")
    settings = folder / "settings.json"
    settings.write_text(json.dumps({"run": "overhead", "directory": str(folder / "runs" / "overhead")}))
    from flyball.runner import probe

    probe.activate(str(settings))
    import deepspeed
    import torch
    from transformers import DeepseekV3ForCausalLM

    class Dense(torch.nn.Module):
        """Products that keep the device busy: its steps hardly depend on how busy the host is."""

        def __init__(self, width: int, layers: int) -> None:
            super().__init__()
            self.layers = torch.nn.Sequential(*(torch.nn.Linear(width, width) for _ in range(layers)))

        def forward(self, batch: Any) -> Any:
            return self.layers(batch).float().square().mean()

    sys.path.insert(0, str(WORKLOAD))
    from model import model_config  # type: ignore[import-not-found]

    given.vocabulary, given.experts, given.attention = 256, 4, "sdpa"
    config = {
        "train_micro_batch_size_per_gpu": given.micro_batch,
        "gradient_accumulation_steps": 1,
        "bf16": {"enabled": not given.float32},
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}},
        "zero_optimization": {"stage": 0},
    }
    module: Any = (
        Dense(given.dense, given.layers) if given.dense else DeepseekV3ForCausalLM(model_config(given))
    )
    engine, *_ = deepspeed.initialize(model=module, config=config, model_parameters=module.parameters())
    batch = torch.randint(0, 256, (given.micro_batch, given.sequence_length), device=engine.device)
    if given.dense:
        dtype = torch.float32 if given.float32 else torch.bfloat16
        batch = torch.randn(given.micro_batch, given.dense, device=engine.device, dtype=dtype)
    from flyball.runner.probe.watch import SLOT

    assert SLOT.probe is not None
    return engine, SLOT.probe, batch


def block(engine: Any, batch: Any, steps: int) -> float:
    """Seconds a step, the device's work included."""
    import torch

    synchronize = torch.cuda.synchronize if batch.is_cuda else lambda: None
    synchronize()
    begun = time.perf_counter()
    for _ in range(steps):
        found = engine(input_ids=batch, labels=batch) if batch.dtype == torch.int64 else engine(batch)
        engine.backward(found.loss if hasattr(found, "loss") else found)
        engine.step()
    synchronize()
    return (time.perf_counter() - begun) / steps


def ratios(engine: Any, probe: Any, batch: Any, pid: int, given: argparse.Namespace) -> list[float]:
    """Watched over unwatched, a pair of blocks each."""
    draw, found = random.Random(given.seed), []
    block(engine, batch, given.steps)
    for _ in range(given.pairs):
        taken = {}
        for watched in draw.sample((True, False), 2):
            probe.watching = watched
            os.kill(pid, signal.SIGCONT if watched else signal.SIGSTOP)
            taken[watched] = block(engine, batch, given.steps)
        found.append(taken[True] / taken[False])
        print(f"pair {len(found)}: {found[-1]:.4f}, step {taken[False] * 1e3:.2f} ms", flush=True)
    probe.watching = True
    return found


def interval(values: list[float], seed: int) -> tuple[float, float]:
    """95% interval of the median, by bootstrap."""
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    return medians[RESAMPLES // 40], medians[-RESAMPLES // 40]


def main() -> None:
    """Print the ratio and its interval."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {
        "pairs": 20, "steps": 40, "micro-batch": 8, "hidden-size": 64, "layers": 2, "heads": 4,
        "sequence-length": 64, "seed": 0, "dense": 0,
    }.items():  # fmt: skip
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--float32", action="store_true", help="train in float32 instead of bf16")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        engine, probe, batch = engine_under_probe(folder, given)
        with agent(folder) as pid:
            found = ratios(engine, probe, batch, pid, given)
        low, high = interval(found, given.seed)
        records = sum(1 for _ in (folder / "runs" / "overhead" / "rank-0.jsonl").open())
    print(
        f"watched over unwatched: {statistics.median(found):.4f} (95%: {low:.4f} to {high:.4f}), "
        f"{given.pairs} pairs of {given.steps} steps, {records} records (at most {ASKED}, aim {AIM})"
    )


if __name__ == "__main__":
    main()
