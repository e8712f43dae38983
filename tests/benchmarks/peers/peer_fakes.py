"""A job without processes: a clock that only runs move, and rates made from the configuration."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks._outside_run import OutsideRun
from tests.benchmarks.peers.base import Bench

from flyball.tuners.base import Configuration
from flyball.tuners.legality.context import Context
from flyball.tuners.space.space import load_space

CONFIG = {
    "train_batch_size": 16,
    "train_micro_batch_size_per_gpu": 2,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
}
SMALL_SPACE = "knobs:\n  micro_batch: [1, 2, 4, 8]\n  zero_stage: [0, 1, 2, 3]\n"


@dataclass
class FakeClock:
    now: float = 0.0

    def time(self) -> float:
        return 1_000_000.0 + self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@dataclass
class FakeRuns:
    """Implements ``base.Measure``: each run takes so long and ends as ``outcome`` says."""

    clock: FakeClock
    outcome: Callable[[Mapping[str, Any]], OutsideRun]
    seconds: float = 10.0
    made: list[Configuration] = field(default_factory=list)

    def __call__(self, configuration: Configuration, folder: Path, limit_seconds: float) -> OutsideRun:
        self.made.append(configuration)
        self.clock.now += min(self.seconds, limit_seconds)
        if limit_seconds < self.seconds:
            return OutsideRun(timed_out=True, reason="stopped")
        return self.outcome(configuration.ds_config)


def by_micro_batch(ds_config: Mapping[str, Any]) -> OutsideRun:
    """Steps a second that grow with the micro batch; 8 does not fit."""
    micro = ds_config["train_micro_batch_size_per_gpu"]
    if micro == 8:
        return OutsideRun(reason="OutOfMemoryError: CUDA out of memory.", out_of_memory=True)
    return OutsideRun(steps_per_second=float(micro))


def bench(
    folder: Path,
    *,
    outcome: Callable[[Mapping[str, Any]], OutsideRun] = by_micro_batch,
    device: str = "cpu",
    space: str | None = SMALL_SPACE,
    **options: Any,
) -> Bench:
    """A bench of two ranks in a folder of its own."""
    config_path = folder / "ds_config.json"
    config_path.write_text(json.dumps(CONFIG))
    space_file = None
    if space is not None:
        space_file = folder / "space.yaml"
        space_file.write_text(space)
    context = Context(
        world_size=2, device=device, cores=2, threads=2, deepspeed_version="0.19.8", torch_version="2.13.0"
    )
    clock = FakeClock()
    return Bench(
        command=("deepspeed", "--num_gpus", "2", "train.py", "--deepspeed_config", str(config_path)),
        config_path=config_path,
        cwd=folder,
        space=load_space(space_file, CONFIG, context),
        measure=FakeRuns(clock, outcome),
        clock=clock,
        space_file=space_file,
        **options,
    )
