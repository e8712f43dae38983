"""What is counted to lie on a device lies there, with two ranks of the installed DeepSpeed."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.runner.ports import free_port
from flyball.tuners.legality.context import Context, installed_version
from flyball.tuners.memory.moments import moments

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("scripts") / "memory_moments.py"
RANKS = 2
BUCKET = 500_000
"""Elements, half of the model's."""
ACTIVATION_RATIO = 1.03
"""Activations of two rows, and what is padded."""
ADAMW = {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}}


def config(stage: int, *, accumulation: int = 1, overlap: bool = False, **other: Any) -> dict[str, Any]:
    zero = {"stage": stage, "reduce_bucket_size": BUCKET, "overlap_comm": overlap}
    return {
        "train_micro_batch_size_per_gpu": 2,
        "gradient_accumulation_steps": accumulation,
        "optimizer": ADAMW,
        "zero_optimization": zero,
        **other,
    }


BF16: dict[str, Any] = {"bf16": {"enabled": True}}
WIDE = {"data_types": {"grad_accum_dtype": "fp32"}}
CASES = {
    "stage 0": config(0, **BF16),
    "stage 0 accumulating": config(0, accumulation=2, **BF16),
    "stage 0 fp32": config(0),
    "stage 1": config(1, **BF16),
    "stage 1 accumulating": config(1, accumulation=2, **BF16),
    "stage 1 fp32": config(1),
    "stage 1 in fp32": config(1, **BF16, **WIDE),
    "stage 2": config(2, **BF16),
    "stage 2 accumulating": config(2, accumulation=2, **BF16),
    "stage 2 overlapping": config(2, overlap=True, **BF16),
    "stage 2 in fp32": config(2, **BF16, **WIDE),
    "stage 3": config(3, **BF16),
}


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    port = str(free_port())
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(RANKS)]
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    process = subprocess.Popen(
        [*start, "--master_port", port, str(SCRIPT), json.dumps(list(CASES.values()))],
        cwd=tmp_path_factory.mktemp("run"),
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "DS_ACCELERATOR": "cpu",
            "OMP_NUM_THREADS": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for left in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_{os.getuid()}_*_{port}_*"):
            left.unlink()
    found = [json.loads(line.partition(" ")[2]) for line in out.splitlines() if line.startswith("found ")]
    assert len(found) == len(CASES), out[-2000:] + err[-4000:]
    return dict(zip(CASES, found, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_what_is_counted_is_there(measured: dict[str, dict[str, int]], name: str) -> None:
    seen = measured[name]
    context = Context(
        world_size=RANKS,
        device="cuda",
        parameters=seen["parameters"],
        deepspeed_version=installed_version("deepspeed"),
    )
    certain = moments(CASES[name], context, certain=True)
    assert certain is not None
    assert certain.resting <= seen["after"] <= certain.resting * ACTIVATION_RATIO
    assert certain.loss <= seen["before"] * ACTIVATION_RATIO
    assert certain.last_gradient <= seen["passes"]
    assert certain.step <= seen["step"]
