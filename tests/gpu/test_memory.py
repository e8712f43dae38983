"""What a real engine's journal tells of memory: activations of a known size, and a bound below the peak."""

import importlib.util
import sys
from pathlib import Path

import pytest

from flyball.runner.base import Limits, TrialRequest, TrialResult
from flyball.runner.command import parse_command
from flyball.runner.launch_cold import ColdLauncher
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Configuration, Measurement
from flyball.tuners.legality.context import Context
from flyball.tuners.measurement.measurement import measure
from flyball.tuners.memory.model import MemoryModel
from flyball.tuners.memory.subject import Subject

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed"),
]

WIDTH, LAYERS, ROWS = 1024, 8, 32_768
INPUT_BYTES = ROWS * WIDTH * 4
"""What enters a layer: 128 MiB."""
SCRIPT = f"""
import deepspeed
import torch
from torch import nn

deepspeed.init_distributed()
model = nn.Sequential(*(each for _ in range({LAYERS}) for each in (nn.Linear({WIDTH}, {WIDTH}), nn.ReLU())))
config = {{
    "train_micro_batch_size_per_gpu": {ROWS},
    "optimizer": {{"type": "AdamW", "params": {{"lr": 1e-3, "torch_adam": True}}}},
}}
engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
for _ in range(60):
    loss = engine(torch.randn({ROWS}, {WIDTH}, device=engine.device)).square().mean()
    engine.backward(loss)
    engine.step()
torch.distributed.destroy_process_group()
"""
ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrialResult:
    for name, value in ALONE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    (tmp_path / "layers.py").write_text(SCRIPT, "utf-8")
    directory = tmp_path / "trial"
    command = parse_command([sys.executable, "layers.py"], cwd=tmp_path)
    request = TrialRequest(
        directory=directory,
        command=command.render(trial_dir=directory, config_path=directory / "ds_config.json", arguments={}),
        ds_config={},
        environment={},
        limits=Limits(startup_seconds=100, total_seconds=110),
    )
    return ColdLauncher(cwd=tmp_path).launch(request).wait(lambda journals: None)


def test_activations_and_peaks_are_told_and_the_bound_lies_below(result: TrialResult) -> None:
    assert result.outcome.kind is OutcomeKind.COMPLETED, result.outcome.reason
    run = measure(result.journals)
    assert isinstance(run, Measurement), run
    kept, peak, resting = (
        run.kept_activation_bytes,
        run.peak_allocated_bytes,
        run.resting_allocated_bytes,
    )
    assert kept is not None
    assert peak is not None
    assert resting is not None
    # Each linear layer keeps what enters it, which the activation before it shares.
    assert LAYERS * INPUT_BYTES <= kept <= (LAYERS + 3) * INPUT_BYTES
    assert resting + kept <= peak
    header = result.journals[0].header
    assert header is not None
    assert header["trainable_parameters"] == LAYERS * (WIDTH * WIDTH + WIDTH)
    model = MemoryModel(context=Context(world_size=1, device="cuda").observed(header))
    subject = Subject.of(Configuration(assignment={}, ds_config=header["config"]), model.context)
    assert subject is not None
    counted = model.least_bytes(subject)
    assert counted is not None
    assert counted <= peak
    model.learn(Configuration(assignment={}, ds_config=header["config"]), run)
    learned, predicted = model.least_bytes(subject), model.predict(subject)
    assert learned is not None
    assert predicted is not None
    assert counted < learned <= peak
    assert predicted.allocated_bytes == pytest.approx(peak, rel=0.1)
