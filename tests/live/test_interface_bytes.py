"""PowerSGD on two hosts, by the bytes that the kernel counts at the link between them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.live.across_hosts import Marks, Moved, moved
from tests.live.hosts import Host

pytestmark = pytest.mark.live

SCRIPT = Path(__file__).parent / "scripts" / "prints_steps.py"
CONFIG = {
    "train_micro_batch_size_per_gpu": 4,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "torch_adam": True}},
    "zero_optimization": {"stage": 0},
}
GRADIENT_BYTES = 4 * (256 * 256 + 256) * 4
"""Of four layers in fp32; two ranks each send about that much and receive it."""
MARKS = Marks(first=20, last=120)
RANK_1 = {"powersgd": {"rank": 1, "start_step": 2, "min_compression": 2.0}}


def test_powersgd_on_an_unchanged_script_moves_fewer_bytes_over_the_link(
    tmp_path: Path, hosts: tuple[Host, Host]
) -> None:
    (tmp_path / "ds.json").write_text(json.dumps(CONFIG), "utf-8")
    script = [str(SCRIPT), "--deepspeed_config", str(tmp_path / "ds.json")]

    def run(name: str, knobs: dict[str, Any]) -> Moved:
        return moved(hosts, tmp_path / name, script, marks=MARKS, knobs=knobs)

    dense, compressed = run("dense", {}), run("compressed", RANK_1)
    assert dense.compressed_bytes is None
    # Sent and received; headers come on top, and a mark's line may be read a step or two late.
    assert dense.bytes_a_step == pytest.approx(2 * GRADIENT_BYTES, rel=0.15)
    assert compressed.dense_bytes == GRADIENT_BYTES
    assert compressed.compressed_bytes is not None
    assert compressed.compressed_bytes < GRADIENT_BYTES / 16
    assert compressed.bytes_a_step < dense.bytes_a_step / 16
