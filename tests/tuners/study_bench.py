"""A user's folder and a fake workload of a known speed, for tests of whole studies."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.tuners.fake_job import FakeClock, FakeLauncher, RecordingObserver, Speed

from flyball.database import open_database
from flyball.history.records import TrialRecord
from flyball.history.store import History
from flyball.runner.outcome import OutcomeKind
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.job import Job
from flyball.tuners.options import StudyOptions, StudyResult, nothing
from flyball.tuners.study.setup import Launchers
from flyball.tuners.study.study import WatchGpus, run_study


def two_ranks_of(*arguments: Any, **options: Any) -> Any:
    """``parse_command``, of a command that starts two ranks."""
    from flyball.runner.command import parse_command

    return replace(parse_command(*arguments, **options), ranks=2)


CONFIG = {
    "train_batch_size": 16,
    "train_micro_batch_size_per_gpu": 1,
    "optimizer": {"type": "AdamW", "params": {"lr": 0.001, "torch_adam": True}},
    "zero_optimization": {"stage": 2},
}
SPACE = "knobs:\n  micro_batch: [1, 2, 4, 8]\n  zero_stage: [0, 1, 2]\n"


def micro_of(config: Mapping[str, Any]) -> int:
    return int(config["train_micro_batch_size_per_gpu"])


def larger_is_faster(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
    stage = config["zero_optimization"]["stage"]
    return 100.0 * micro_of(config) ** 0.3 * (1.1 if stage == 0 else 1.0)


def all_alike(config: Mapping[str, Any], environment: Mapping[str, str]) -> float:
    return 100.0


def eight_runs_out(config: Mapping[str, Any], environment: Mapping[str, str]) -> float | OutcomeKind:
    return OutcomeKind.OUT_OF_MEMORY if micro_of(config) == 8 else larger_is_faster(config, environment)


@dataclass
class Bench:
    """One user's folder, and everything a study of it needs."""

    folder: Path
    speed: Speed
    clock: FakeClock = field(default_factory=FakeClock)
    observer: RecordingObserver = field(default_factory=RecordingObserver)
    interruption: Interruption = field(default_factory=Interruption)
    made: list[FakeLauncher] = field(default_factory=list)
    on_step: Any = None
    startup: Callable[[Mapping[str, Any]], float] = lambda config: 1.0
    first_startup: float | None = None
    """Seconds of the first run's start, which is cold and may build operators; None: as the others."""
    cold_startup: float = 1.0
    startup_parts: Mapping[str, float] = field(default_factory=dict)
    tells_losses: bool = True
    run_noise: float = 0.01
    policies: tuple[str, ...] = ()
    """None by default: reading those that come with flyball takes an eighth of a second."""
    ablation_seconds: float | None = 0.0
    """Off by default: most tests are not about what each change brings."""
    watch_gpus: WatchGpus | None = None
    """What stands in for NVML."""

    def __post_init__(self) -> None:
        (self.folder / "train.py").write_text("import deepspeed\n")
        (self.folder / "ds.json").write_text(json.dumps(CONFIG, indent=1))
        (self.folder / "space.yaml").write_text(SPACE)

    @property
    def options(self) -> StudyOptions:
        return StudyOptions(
            command=("python", "train.py", "--deepspeed_config", "ds.json"),
            cwd=self.folder,
            database_url=f"sqlite:///{self.folder / 'history.db'}",
            space=self.folder / "space.yaml",
            trials=12,
            seed=3,
            policies=self.policies,
            ablation_seconds=self.ablation_seconds,
            output=self.folder / "out",
        )

    def launchers(self, options: StudyOptions, job: Job) -> Launchers:
        warm = FakeLauncher(
            self.speed,
            self.clock,
            seed=len(self.made),
            on_step=self.on_step,
            startup=self._startup,
            startup_parts=self.startup_parts,
            run_noise=self.run_noise,
            tells_losses=self.tells_losses,
        )
        cold = FakeLauncher(
            self.speed,
            self.clock,
            name="cold",
            seed=99,
            startup=lambda config: self.cold_startup,
            tells_losses=self.tells_losses,
        )
        self.made += [warm, cold]
        return Launchers(usual=warm, cold=cold)

    def _startup(self, config: Mapping[str, Any]) -> float:
        first, self.first_startup = self.first_startup, None
        return self.startup(config) if first is None else first

    def run(self, options: StudyOptions | None = None, *, begin: Callable[[], None] = nothing) -> StudyResult:
        return run_study(
            options or self.options,
            observer=self.observer,
            interruption=self.interruption,
            clock=self.clock,
            make_launchers=self.launchers,
            watch_gpus=self.watch_gpus,
            begin=begin,
        )

    def recommendation(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / "out" / "recommendation.json").read_text())
        return content

    def history(self) -> History:
        return History(open_database(self.options.database_url))

    def trials(self) -> list[TrialRecord]:
        history = self.history()
        return [trial for summary in history.experiments() for trial in history.trials(summary.experiment.id)]
