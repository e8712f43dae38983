"""An engine with DeepSpeed's methods and none of its work, hooked as a real one is."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from flyball.collectors.journal import RankJournal
from flyball.runner.probe.checkpoints import watch_checkpoints
from flyball.runner.probe.deepspeed_hooks import watch_engine
from flyball.runner.probe.losses import watch_backward
from flyball.runner.probe.meter import ATTRIBUTE, Meter
from flyball.runner.probe.readings import HostReadings
from flyball.runner.probe.settings import Settings
from flyball.runner.probe.watch import SLOT, Probe


class FakeEngine:
    """What the hooks see of a DeepSpeedEngine; ``saved`` and ``loaded`` hold the folders it was given."""

    def __init__(self) -> None:
        self.device = torch.device("cpu")
        self.module = SimpleNamespace(training=True)
        self._modules = {"module": self.module}
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.125}])
        self._step_applied = True
        self._running_engine_backward = False
        self.overflow_at: set[int] = set()
        self.steps = 0
        self.saved: list[str] = []
        self.loaded: list[str] = []

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.zeros(())

    def backward(self, loss: torch.Tensor, scale_wrt_gas: bool = True) -> torch.Tensor:
        return loss

    def _backward_prologue(self) -> None:
        pass

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        return loss * 1024

    def _take_model_step(self, lr_kwargs: Any = None) -> None:
        self.steps += 1
        self._step_applied = self.steps not in self.overflow_at

    def train(self, mode: bool = True) -> None:
        self.module.training = mode

    def eval(self) -> None:
        self.module.training = False

    def save_checkpoint(self, save_dir: str, tag: str | None = None) -> bool:
        self.saved.append(save_dir)
        return True

    def load_checkpoint(self, load_dir: str, tag: str | None = None) -> tuple[str, dict[str, Any]]:
        self.loaded.append(load_dir)
        return load_dir, {"step": 7}


watch_engine(FakeEngine)
watch_backward(torch.Tensor, FakeEngine)
watch_checkpoints(FakeEngine)


@contextlib.contextmanager
def watched(folder: Path, **settings: Any) -> Iterator[tuple[FakeEngine, Probe]]:
    """A hooked engine whose journal lies in ``folder``; the probe is taken out of the process afterwards."""
    defaults = {"max_records_per_second": 0.0, "memory": False, "budget_ratio": float("inf")}
    probe = Probe(Settings(directory=str(folder), **{**defaults, **settings}), speaks=True)
    probe.journal.open(0)
    engine = FakeEngine()
    meter = Meter(probe, engine, 0, HostReadings(), pipeline=False)
    engine.__dict__[ATTRIBUTE] = meter
    probe.meters.append(meter)
    SLOT.probe = probe
    try:
        yield engine, probe
    finally:
        SLOT.probe = None
        probe.journal.close()


def read(folder: Path, rank: int = 0) -> RankJournal:
    """The journal, through the reader that everybody else uses."""
    journal = RankJournal(path=folder / f"rank-{rank}.jsonl")
    journal.refresh()
    return journal
