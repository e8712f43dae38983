"""What the benchmarks of whole studies share: single runs of the reference workload, and studies of it."""

import json
import math
import os
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from flyball.collectors.fingerprint import fingerprint
from flyball.runner.base import Launcher
from flyball.tuners.base import Configuration, Measurement, Phase
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.job import Job, read_job
from flyball.tuners.measurement.stopping import Precision
from flyball.tuners.options import StudyOptions
from flyball.tuners.space.space import Space, load_space
from flyball.tuners.study.study import real_launchers
from flyball.tuners.trials.trial_runner import Run, TrialRunner

ROOT = Path(__file__).parents[2]
WORKLOAD = ROOT / "runner" / "workload"
BINARIES = Path(sys.executable).parent
AUTOTUNE = (sys.executable, "-P", "-c", "from flyball.agent.cli import autotune_main; autotune_main()")
"""Also where flyball is importable but not installed."""
LONGEST_RUN_SECONDS = 3.0
"""As in a study of five minutes."""


def reference_command(config: Path = WORKLOAD / "ds_config.json") -> tuple[str, ...]:
    """The command of ``make autotune``."""
    script = str(WORKLOAD / "train.py")
    return ("deepspeed", "--num_gpus", "2", script, "--deepspeed", "--deepspeed_config", str(config))


def with_binaries() -> None:
    """Find the launchers and ninja as ``make`` does."""
    os.environ["PATH"] = f"{BINARIES}{os.pathsep}{os.environ['PATH']}"


class Silent:
    """An observer that shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


@dataclass(kw_only=True)
class Runs:
    """Makes single runs of the reference workload, the first one cold and unused."""

    folder: Path
    job: Job
    runner: TrialRunner
    launcher: Launcher
    made: int = 0

    @classmethod
    def begin(cls, folder: Path, command: Sequence[str] | None = None, *, warm: bool = True) -> "Runs":
        """Run the user's own config once, from which the warm launcher learns."""
        tokens = tuple(command or reference_command())
        options = StudyOptions(command=tokens, cwd=ROOT, database_url="", warm=warm)
        job = read_job(options, fingerprint())
        launchers = real_launchers(options, job)
        runner = TrialRunner(
            command=job.command,
            launcher=launchers.usual,
            cold=launchers.cold,
            directory=folder,
            observer=Silent(),  # type: ignore[arg-type]
            interruption=Interruption(),
        )
        runs = cls(folder=folder, job=job, runner=runner, launcher=launchers.usual)
        runs.rate(Configuration(assignment={}, ds_config=job.config))
        runs.job = job.observed(runner.header or {})
        runner.device_memory_bytes = runs.job.context.device_memory_bytes
        return runs

    def space(self, path: Path | None, *, allow_global_batch: bool = False) -> Space:
        """The space that a file, or None for the default one, means for this job."""
        return load_space(path, self.job.config, self.job.context, allow_global_batch=allow_global_batch)

    def measure(self, configuration: Configuration, *, cold: bool = False) -> Measurement | None:
        """One run; None where it failed."""
        wanted = Run(
            number=self.made,
            phase=Phase.SEARCH,
            configuration=configuration,
            precision=Precision(max_seconds=LONGEST_RUN_SECONDS),
            cold=cold,
        )
        self.made += 1
        return self.runner.run(wanted).measurement

    def rate(self, configuration: Configuration) -> float:
        """Samples a second of one run; 0 where it failed."""
        measured = self.measure(configuration)
        return measured.samples_per_second.point if measured else 0.0

    def interleaved(self, configurations: Mapping[str, Configuration], rounds: int) -> dict[str, float]:
        """Geometric mean rate by key over interleaved rounds, each in an order of its own."""
        rates: dict[str, list[float]] = {key: [] for key in configurations}
        shuffled = random.Random(rounds)
        for _ in range(rounds):
            for key in shuffled.sample(list(configurations), len(configurations)):
                rates[key].append(self.rate(configurations[key]))
        return {
            key: math.exp(fmean(map(math.log, found))) if all(found) else 0.0 for key, found in rates.items()
        }


def autotune(folder: Path, command: Sequence[str], *options: str) -> dict[str, Any]:
    """Run a whole study in a process of its own; return its recommendation.json."""
    folder.mkdir(parents=True, exist_ok=True)
    database = f"sqlite:///{folder / 'history.db'}"
    arguments = [
        *AUTOTUNE,
        "--output",
        str(folder / "out"),
        "--db",
        database,
        *options,
        "--",
    ]
    with (folder / "log").open("w") as log:
        subprocess.run([*arguments, *command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, check=True)
    content: dict[str, Any] = json.loads((folder / "out" / "recommendation.json").read_text())
    return content


def configuration_of(side: Mapping[str, Any]) -> Configuration:
    """One side of a recommendation.json as a configuration."""
    return Configuration(
        assignment={},
        ds_config=side["ds_config"],
        arguments=side["arguments"],
        environment=side["environment"],
        probe=side["probe"],
    )


def verdict(asked: str, got: str, *, met: bool) -> bool:
    """Print one figure, asked and got."""
    print(f"{'met   ' if met else 'MISSED'}  asked: {asked}  got: {got}", flush=True)
    return met
