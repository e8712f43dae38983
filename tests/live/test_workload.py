"""The reference workload trains for real: every launcher, a resumed run, the pipeline, the Trainer."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

import flyball.runner

pytestmark = pytest.mark.live

WORKLOAD = Path(flyball.runner.__file__).parent / "workload"
TINY = ["--hidden-size", "32", "--layers", "2", "--experts", "2", "--sequence-length", "16"]
LATE_ABORT = "terminate called without an active exception"
"""What a thread of gloo's that wants Python's lock in a closing interpreter makes of a run that is done."""
STEP = re.compile(r"step (\d+) loss (\d+\.\d+)")


def free_port() -> str:
    """A port that nobody listens on now, so that tests beside this one do not meet."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def launcher(name: str, port: str) -> list[str]:
    """The start of a command for that launcher; two ranks, or one without a launcher."""
    binaries = Path(sys.executable).parent
    return {
        "deepspeed": [f"{binaries}/deepspeed", "--num_gpus", "2", "--master_port", port],
        "torchrun": [f"{binaries}/torchrun", "--nproc_per_node", "2", "--master_port", port],
        "python": [sys.executable],
    }[name]


def run(name: str, *words: str, folder: Path) -> str:
    """Run to the end; return what it printed on standard output. Nothing of it stays behind."""
    port = free_port()
    command = [*launcher(name, port), *words]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    )
    try:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        for left in Path("/dev/shm").glob(f"deepspeed_allreduce_buffer_{os.getuid()}_*_{port}_*"):
            left.unlink()
    assert process.returncode == 0 or LATE_ABORT in err, out[-2000:] + err[-4000:]
    return out


def train(
    name: str, *options: str, folder: Path, script: str = "train.py", config: str = "ds_config.json"
) -> dict[int, float]:
    """Train the tiny model; return the loss of each step."""
    words = [str(WORKLOAD / script), *TINY, "--deepspeed_config", str(WORKLOAD / config), *options]
    return {int(step): float(loss) for step, loss in STEP.findall(run(name, *words, folder=folder))}


def test_a_resumed_run_goes_on_as_if_never_interrupted(tmp_path: Path) -> None:
    whole = train("deepspeed", "--steps", "4", "--save", "checkpoints", "--save-every", "2", folder=tmp_path)
    assert list(whole) == [1, 2, 3, 4]
    (tmp_path / "checkpoints" / "latest").write_text("global_step2")
    resumed = train("torchrun", "--steps", "4", "--resume", "checkpoints", folder=tmp_path)
    assert resumed == {step: whole[step] for step in (3, 4)}


def test_the_pipeline_computes_what_one_process_does(tmp_path: Path) -> None:
    alone = train("python", "--steps", "3", folder=tmp_path)
    piped = train(
        "deepspeed",
        "--steps",
        "3",
        folder=tmp_path,
        script="train_pipeline.py",
        config="ds_config_pipeline.json",
    )
    assert piped == pytest.approx(alone, rel=1e-3)


def test_the_trainer_fills_the_auto_values_from_its_command_line(tmp_path: Path) -> None:
    options = {
        "--deepspeed": str(WORKLOAD / "ds_config_trainer.json"),
        "--output_dir": "out",
        "--per_device_train_batch_size": "2",
        "--gradient_accumulation_steps": "2",
        "--max_steps": "2",
        "--save_strategy": "steps",
        "--save_steps": "2",
    }
    words = [word for pair in options.items() for word in pair]
    run("torchrun", str(WORKLOAD / "trainer.py"), "--use_cpu", *words, folder=tmp_path)
    state = json.loads((tmp_path / "out" / "checkpoint-2" / "trainer_state.json").read_text())
    assert (state["global_step"], state["train_batch_size"]) == (2, 2)
