"""The two jobs that surfaces were recorded of: what a study must know of them, without a process."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from flyball.runner.command import Command, parse_command
from flyball.tuners.config.reading import ConfigDocument
from flyball.tuners.job.job import Job
from flyball.tuners.legality.context import Context
from flyball.tuners.space.space import Space, load_space

COMMAND = ("python", "train.py", "--deepspeed_config", "ds.json")
ADAM: Mapping[str, Any] = {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}}


@dataclass(frozen=True, kw_only=True, slots=True)
class SimulatedJob:
    """A job without a script."""

    config: Mapping[str, Any]
    """The user's own."""
    context: Context
    knobs: str
    """The space file."""
    samples_per_second: float
    """Of the user's own configuration, as recorded."""

    def job(self) -> Job:
        """Return it as a study knows a job."""
        document = ConfigDocument(values=self.config)
        return Job(command=_command(), document=document, user_config=None, context=self.context)

    @property
    def space_file(self) -> Path:
        """The space file on disk."""
        return _file(self.knobs)

    def space(self) -> Space:
        """Return the space of a study."""
        return load_space(self.space_file, self.config, self.context)

    def header(self) -> dict[str, Any]:
        """Return what the journals of a run say of the job: nothing that is not known before."""
        recomputes = self.context.activation_checkpointing
        return {
            "kind": "header",
            "engine": 0,
            "world_size": self.context.world_size,
            "activation_checkpointing": recomputes,
        }


CPU = SimulatedJob(
    config={
        "train_batch_size": 32,
        "train_micro_batch_size_per_gpu": 2,
        "optimizer": ADAM,
        "zero_optimization": {"stage": 2, "overlap_comm": True},
    },
    context=Context(
        world_size=2,
        data_parallel_size=2,
        cores=2,
        threads=2,
        deepspeed_version="0.19.8",
        torch_version="2.13.0",
    ),
    knobs="""knobs:
  micro_batch: [1, 2, 4, 8]
  zero_stage: [0, 1, 2, 3]
  threads: [1, 2]
  reduce_bucket_size: [150000, 500000000]
""",
    samples_per_second=136.0,
)
GPU = SimulatedJob(
    config={
        "train_batch_size": 32,
        "train_micro_batch_size_per_gpu": 4,
        "bf16": {"enabled": True},
        "optimizer": {"type": "AdamW", "params": {"lr": 0.0001, "torch_adam": True}},
        "zero_optimization": {"stage": 2},
    },
    context=Context(
        world_size=1,
        data_parallel_size=1,
        device="cuda",
        cores=16,
        activation_checkpointing=False,
        deepspeed_version="0.19.8",
        torch_version="2.11.0",
    ),
    knobs="""knobs:
  micro_batch: [2, 4, 8, 16, 32]
  activation_checkpointing: [false, true]
  fused_optimizer: [false, true]
  throughput_timer_synchronized: [true, false]
  compile: [false, true]
""",
    samples_per_second=268.0,
)


def job_of(noise: str) -> SimulatedJob:
    """Return the job whose surface was recorded beside a noise."""
    return GPU if noise.startswith("h") and noise != "heavy" else CPU


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="flyball-surrogate-")


def study_folder() -> Path:
    """Return a folder for the plans that studies write; it goes when the process ends."""
    return Path(_folder().name)


@cache
def _file(content: str) -> Path:
    path = study_folder() / f"space-{len(list(study_folder().glob('space-*')))}.yaml"
    path.write_text(content)
    return path


@cache
def _command() -> Command:
    folder = study_folder()
    (folder / "train.py").write_text("import deepspeed\n")
    (folder / "ds.json").write_text("{}")
    return parse_command(COMMAND, cwd=folder)
