"""Fragmentation that flyball reads of a job that fragments on purpose, without and with expandable segments.

    python tests/benchmarks fragmentation

A real engine takes steps on the GPU under ``flyball run``. Between them it fills memory with blocks, gives
three of four back, and then needs larger ones: what was given back has room for these only where neighbours
can be joined. Prints ``peak`` (1 - peak active / peak reserved) of both; asked is more than 0.30, then less.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ASKED = 0.30
SCRIPT = """
import time

import deepspeed
import torch

deepspeed.init_distributed()
model = torch.nn.Linear(64, 64)
config = {
    "train_micro_batch_size_per_gpu": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
}
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)


def steps(count):
    for _ in range(count):
        engine.backward(engine(torch.randn(4, 64, device=engine.device)).square().mean())
        engine.step()
        time.sleep(0.01)  # so that many records tell of the steps


def block(mebibytes):
    return torch.empty(mebibytes << 20, dtype=torch.uint8, device=engine.device)


steps(20)
short = [block(64) for _ in range(160)]
kept = short[::4]
steps(20)
del short
larger = [block(190) for _ in range(40)]
steps(200)
torch.distributed.destroy_process_group()
"""


def peak(folder: Path, options: str) -> float:
    """What the summary of a run says, a ratio."""
    (folder / "fragments.py").write_text(SCRIPT, "utf-8")
    summary = folder / "summary.json"
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    allocator = {"PYTORCH_ALLOC_CONF": options, "PYTORCH_CUDA_ALLOC_CONF": options} if options else {}
    own = {"MASTER_PORT": "29741", "FLYBALL_STATE_DIR": str(folder / "state")}
    flyball = str(Path(sys.executable).with_name("flyball"))
    done = subprocess.run(
        [flyball, "run", "--json", str(summary), "--", sys.executable, str(folder / "fragments.py")],
        env={**os.environ, **alone, **allocator, **own},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return float(json.loads(summary.read_text("utf-8"))["fragmentation_peak"])


def main() -> None:
    """Print both; exits 1 on a miss."""
    found = {}
    for options in ("", "expandable_segments:True"):
        with tempfile.TemporaryDirectory() as folder:
            found[options] = peak(Path(folder), options)
        print(f"{options or 'default allocator'}: peak {found[options]:.3f}")
    before, after = found.values()
    print(f"asked: above {ASKED} without, below it with expandable segments")
    sys.exit(0 if after < ASKED < before else 1)


if __name__ == "__main__":
    main()
