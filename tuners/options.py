"""What the user asked a study to do, validated at the door, and what the study hands back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from flyball.tuners.base import StudyObserver
from flyball.tuners.interruption import Interruption
from flyball.tuners.job.lead import Lead
from flyball.tuners.objective import LEAST_THROUGHPUT_RATIO, Objective

LATEST: Final = ""
"""The value of ``StudyOptions.resume`` that stands for the newest experiment that can be resumed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyOptions:
    """Everything that ``autotune`` was given; paths are absolute, durations in seconds."""

    command: tuple[str, ...]
    """The user's command, token by token; empty only with ``resume``, which finds it in the history."""
    cwd: Path
    """Where the user's command runs."""
    typed_in: Path | None = None
    """Where the user is, where that is another folder: results go there, and shown paths are from there."""
    database_url: str = field(repr=False)
    """The history's SQLAlchemy URL; may hold a password, so it is left out of ``repr``."""
    config: Path | None = None
    """The DeepSpeed config, where it is not found in the command."""
    space: Path | None = None
    """The space file; None is the default space."""
    trials: int | None = None
    """The most search trials; None leaves it to the budget and the space."""
    budget_seconds: float | None = None
    """Wall-clock limit of the whole study, verification included; None leaves it to ``trials``."""
    ablation_seconds: float | None = None
    """The most that measuring each change of a recommendation may take; 0 leaves it off.

    None: what the budget leaves, and without one as long as search or verification took.
    """
    seed: int | None = None
    """Seed of the sampler and of the order of verification; None draws one, which is recorded."""
    output: Path | None = None
    """Folder of the results; None is ``./flyball_results/<experiment>/``."""
    resume: str | None = None
    """Name or id of an experiment, its results folder, ``LATEST``, or None for a new experiment."""
    dry_run: bool = False
    """Print the legal space, the first configs and the cost forecast; launch nothing."""
    maps: Mapping[str, str] = field(default_factory=dict)
    """Key path of the DeepSpeed config to the command's option that carries the same value."""
    name: str | None = None
    """Name of the experiment; None makes one up."""
    warm: bool = True
    """Whether trials may be forked from a warm server."""
    allowed_writes: tuple[Path, ...] = ()
    """Folders outside the trial's that the script may write to."""
    memory_limit_ratio: float = 0.90
    """Nothing that reserves more than this share of the device's memory is recommended."""
    objective: Objective = Objective.THROUGHPUT
    """What the study makes better."""
    least_throughput_ratio: float = LEAST_THROUGHPUT_RATIO
    """Of the user's own throughput, what a configuration must reach where the objective is energy."""
    samples_from: str = "batch"
    """``batch``: a row of the tensor that enters forward is a sample. ``config``: rows are packed or paired,
    a forward counts as train_micro_batch_size_per_gpu samples, and what a sample amounts to is held against
    the user's own run."""
    allow_global_batch: bool = False
    """Whether the global batch may change, which changes what the optimizer sees."""
    policies: tuple[str, ...] = ("default",)
    """Policy files whose rules trials are held against; ``default`` is the one that comes with flyball."""
    lead: Lead | None = None
    """The tuning request that the study begins with."""

    @property
    def throughput_floor(self) -> float | None:
        """The least throughput ratio where it is a limit at all: no other objective is bought with speed."""
        return self.least_throughput_ratio if self.objective is Objective.ENERGY else None


def options_json(options: StudyOptions) -> dict[str, Any]:
    """Return the options as the history keeps them; the database's URL is not among them."""
    return {
        "cwd": str(options.cwd),
        "config": str(options.config) if options.config else None,
        "space": str(options.space) if options.space else None,
        "trials": options.trials,
        "budget_seconds": options.budget_seconds,
        "ablation_seconds": options.ablation_seconds,
        "maps": dict(options.maps),
        "warm": options.warm,
        "allowed_writes": [str(path) for path in options.allowed_writes],
        "memory_limit_ratio": options.memory_limit_ratio,
        "objective": options.objective.value,
        "least_throughput_ratio": options.least_throughput_ratio,
        "allow_global_batch": options.allow_global_batch,
        "samples_from": options.samples_from,
        "policies": list(options.policies),
        "lead": options.lead.document() if options.lead else None,
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResult:
    """What a study that came to its end hands to the command line."""

    verdict: str | None
    """``recommended``, ``keep`` or ``unverified``; None after a dry run."""
    output_directory: Path
    """Holds recommendation.json and the rest; not written to by a dry run."""
    summary: str
    """What to print at the end: one screen of plain text."""


def nothing() -> None:
    """Do nothing."""


class RunStudy(Protocol):
    """``tuners.study.run_study``, or what stands in for it in a test."""

    def __call__(
        self,
        options: StudyOptions,
        *,
        observer: StudyObserver,
        interruption: Interruption,
        begin: Callable[[], None] = nothing,
    ) -> StudyResult:
        """Run the study to its end, or raise one of ``flyball.errors``."""
        ...
