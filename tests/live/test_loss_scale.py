"""The loss scale as each fp16 optimizer of the installed DeepSpeed holds it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.live

# Built without their work: only where the scale stands is asked.
REPORT = """
import json
from types import SimpleNamespace
from deepspeed.runtime.fp16.fused_optimizer import FP16_Optimizer
from deepspeed.runtime.fp16.unfused_optimizer import FP16_UnfusedOptimizer
from deepspeed.runtime.zero.stage3 import DeepSpeedZeroOptimizer_Stage3
from deepspeed.runtime.zero.stage_1_and_2 import DeepSpeedZeroOptimizer
from flyball.runner.probe.loss_scale import loss_scale

found = {}
for kind in (FP16_Optimizer, FP16_UnfusedOptimizer, DeepSpeedZeroOptimizer, DeepSpeedZeroOptimizer_Stage3):
    optimizer = kind.__new__(kind)
    held = SimpleNamespace(cur_scale=4096.0, use_grad_scaling=True)
    optimizer.custom_loss_scaler = False
    optimizer.loss_scale_config = optimizer.loss_scaler = held
    found[kind.__name__] = [loss_scale(SimpleNamespace(optimizer=optimizer))]
    optimizer.custom_loss_scaler, optimizer.external_loss_scale = True, 8
    found[kind.__name__].append(loss_scale(SimpleNamespace(optimizer=optimizer)))
print(json.dumps(found))
"""


def test_every_fp16_optimizer_of_deepspeed_tells_its_scale(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPORT],
        env={**os.environ, "DS_ACCELERATOR": "cpu"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 4
    assert all(scales == [4096.0, 8.0] for scales in found.values()), found
