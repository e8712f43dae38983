import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.collectors.journal import RankJournal, read_folder
from flyball.runner.ports import free_port
from flyball.runner.probe_install import install
from flyball.tuners.measurement.bubble import pipeline

pytestmark = pytest.mark.live

CONFIG = {
    "train_micro_batch_size_per_gpu": 32,
    "gradient_accumulation_steps": 2,
    "optimizer": {"type": "AdamW", "params": {"lr": 1e-3, "torch_adam": True}},
    "bf16": {"enabled": True},
    "zero_optimization": {"stage": 1},
}
TRAIN = """
import argparse, deepspeed, torch
parser = deepspeed.add_config_arguments(argparse.ArgumentParser())
parser.add_argument("--local_rank", type=int, default=0)
args = parser.parse_args()
deepspeed.init_distributed()
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 64))
engine, *_ = deepspeed.initialize(args=args, model=model, model_parameters=model.parameters())
_, state = engine.load_checkpoint("ckpt")
for step in range(state["step"], 6):
    for _ in range(engine.gradient_accumulation_steps()):
        loss = engine(torch.randn(4, 64, dtype=next(engine.parameters()).dtype)).float().square().mean()
        engine.backward(loss)
        engine.step()
    if step == 3:
        engine.save_checkpoint("ckpt", client_state={"step": step})
        engine.eval()
        with torch.no_grad():
            engine(torch.randn(100, 64, dtype=next(engine.parameters()).dtype))
        engine.train()
deepspeed.comm.destroy_process_group()
"""
PIPELINE = """
import argparse, deepspeed, torch
from deepspeed.pipe import LayerSpec, PipelineModule
parser = deepspeed.add_config_arguments(argparse.ArgumentParser())
parser.add_argument("--local_rank", type=int, default=0)
args = parser.parse_args()
deepspeed.init_distributed()
def loss(output, labels):
    return torch.nn.functional.cross_entropy(output.flatten(0, 1), labels.flatten())
layers = [LayerSpec(torch.nn.Embedding, 16, 32), LayerSpec(torch.nn.Linear, 32, 16)]
model = PipelineModule(layers, num_stages=2, loss_fn=loss)
engine, *_ = deepspeed.initialize(args=args, model=model, model_parameters=list(model.parameters()))
def batches():
    while True:
        ids = torch.randint(0, 16, (3, 8))
        yield ids, ids
for step in range(4):
    engine.train_batch(batches())
    engine.eval_batch(batches())
deepspeed.comm.destroy_process_group()
"""


def launch(
    folder: Path, script: str, config: dict[str, Any], *, ranks: int, **settings: Any
) -> dict[int, RankJournal]:
    """Run a script under an installed probe: by ``deepspeed``, or by python where there is one rank."""
    (folder / "user").mkdir()
    (folder / "user" / "train.py").write_text(script)
    (folder / "ds.json").write_text(json.dumps(config))
    trial = folder / "trial"
    given = {
        "purpose": "trial", "directory": str(trial), "checkpoint_directory": str(trial / "checkpoints"),
        "guard_writes": True, "max_records_per_second": 1e9, "budget_ratio": 1e9, **settings,
    }  # fmt: skip
    environment = {
        **os.environ,
        **install(folder / "probe", given),
        "DS_ACCELERATOR": "cpu",
        "OMP_NUM_THREADS": "1",
    }
    start = [
        str(Path(sys.executable).with_name("deepspeed")),
        "--num_gpus",
        str(ranks),
        "--master_port",
        str(free_port()),
    ]
    if ranks == 1:
        start = [sys.executable]
        environment |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}
        environment |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    done = subprocess.run(
        [*start, "train.py", "--deepspeed_config", str(folder / "ds.json")],
        env=environment, cwd=folder / "user", capture_output=True, text=True,
        timeout=PATIENCE_SECONDS, check=False,
    )  # fmt: skip
    # gloo's threads may abort an interpreter that closes after the run is done; its end record was written.
    late_abort = "terminate called without an active exception" in done.stderr
    assert done.returncode == 0 or late_abort, done.stderr[-3000:]
    return read_folder(trial)


def test_an_engine_of_deepspeed_is_measured_and_leaves_the_user_alone(tmp_path: Path) -> None:
    journal = launch(tmp_path, TRAIN, CONFIG, ranks=1, knobs={"compile": {"backend": "eager"}})[0]
    assert journal.of_kind("probe_off") == []
    header = journal.header
    assert header is not None
    assert (header["engine_class"], header["zero_stage"], header["config_source"]) == (
        "DeepSpeedEngine",
        1,
        "file",
    )
    assert (header["micro_batch"], header["accumulation"], header["parameters"]) == (32, 2, 2 * 64 * 65)
    assert header["parameters_by_type"] == {"bfloat16": 2 * 64 * 65}, (
        "the model is made of what the config says"
    )
    steps = journal.steps()
    # The config says 32, the script feeds 4, twice a step.
    assert [step["samples"] for step in steps] == [8] * 6
    assert [step["forwards"] for step in steps] == [2] * 6
    assert steps[-1]["loss"] < steps[0]["loss"]
    edges = [(record["phase"], record["edge"]) for record in journal.of_kind("pause")]
    assert edges == [
        ("checkpointing", "begin"), ("checkpointing", "end"), ("evaluating", "begin"), ("evaluating", "end"),
    ]  # fmt: skip
    assert [record["what"] for record in journal.of_kind("redirect")] == [
        "load_checkpoint",
        "save_checkpoint",
    ]
    assert journal.last("witness")["value"]["graphs"] > 0  # type: ignore[index]
    assert journal.last("end")["steps"] == 6  # type: ignore[index]
    assert [path.name for path in (tmp_path / "user").iterdir()] == ["train.py"]
    assert (tmp_path / "trial" / "checkpoints" / "ckpt" / "latest").exists()


def test_the_loss_of_a_plain_backward_is_known(tmp_path: Path) -> None:
    script = TRAIN.replace("engine.backward(loss)", "loss.backward()")
    assert script != TRAIN
    journal = launch(tmp_path, script, CONFIG, ranks=1)[0]
    assert journal.of_kind("probe_off") == []
    losses = [step["loss"] for step in journal.steps()]
    assert 0 < losses[-1] < losses[0]


def test_the_group_of_every_collective_is_found() -> None:
    code = "from deepspeed.comm.torch import TorchBackend as backend\n"
    code += "from flyball.runner.probe.collectives import PAYLOAD, argument_place\n"
    code += "methods = {name: vars(backend).get(name) for name in PAYLOAD}\n"
    code += "methods = {name: method for name, method in methods.items() if callable(method)}\n"
    code += "print({name: argument_place(method, 'group') for name, method in methods.items()})"
    environment = {**os.environ, "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )
    places = ast.literal_eval(done.stdout.splitlines()[-1])
    assert (places["all_reduce"], places["broadcast"], places["all_to_all_single"]) == (2, 2, 4)
    assert max(places.values()) < 10


def test_all_stages_of_a_pipeline_report_the_same_samples(tmp_path: Path) -> None:
    config = {key: value for key, value in CONFIG.items() if key not in ("bf16", "zero_optimization")}
    journals = launch(tmp_path, PIPELINE, config, ranks=2)
    assert sorted(journals) == [0, 1]
    for rank, journal in journals.items():
        assert journal.of_kind("probe_off") == []
        header = journal.header
        assert header is not None
        assert (header["engine_class"], header["pipeline_stage"]) == ("PipelineEngine", rank)
        assert set(header["parameters_by_type"]) == {"float32"}
        steps = journal.steps()
        assert [(step["samples"], step["tokens"]) for step in steps] == [(6, 48)] * 4
        assert {"send", "recv"} <= set(steps[1]["communicated"])
        assert all(0 < step["pipeline_busy"] < step["pipeline_span"] < step["seconds"] for step in steps)
        assert len(journal.of_kind("pause")) == 8
    losses = [[step["loss"] for step in journal.steps()] for journal in journals.values()]
    assert losses[0] == losses[1]
    assert None not in losses[0]
    found = pipeline(journals, {rank: journal.header or {} for rank, journal in journals.items()})
    assert isinstance(found, dict)
    assert 0 < found["measured_bubble"] < 1
