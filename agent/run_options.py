"""The options of ``flyball run`` that make its run part of a study, and the checks that they need."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flyball.agent.durations import parse_duration
from flyball.agent.study_options import (
    absolute,
    absolute_folder,
    check_choice,
    check_name,
    current_folder,
    parse_least_throughput,
    parse_maps,
    parse_memory_limit_ratio,
    parse_objective,
    parse_whole,
    policy_files,
    space_path,
)
from flyball.errors import OptionError

if TYPE_CHECKING:
    # The history needs SQLAlchemy, which a plain run must not wait for.
    from flyball.tuners.between_runs.turn import Asked

MOST_SEARCH_RUNS = 10_000
PROCESS_COUNTS = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS")
"""Variables in which a launcher tells each of its processes how many they are."""

Study = Annotated[
    str | None,
    typer.Option(
        "--study",
        metavar="NAME",
        help="Tune the command from run to run: each run takes the next configuration of this study.",
    ),
]
SearchRuns = Annotated[
    str | None,
    typer.Option(
        "--search-runs", metavar="N", help="Runs that try something, at most; 12 by default. Of a study."
    ),
]
Space = Annotated[
    Path | None, typer.Option("--space", metavar="FILE", help="Space file or bundled space, of a study.")
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="DeepSpeed config that the command does not name."),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="KEY=OPTION", help="Option of the command that carries a config key's value."
    ),
]
ObjectiveOf = Annotated[
    str | None,
    typer.Option(
        "--objective",
        metavar="WHAT",
        help="What the study makes better: throughput, latency or energy, as for autotune; by default "
        "what it was begun for, or throughput.",
    ),
]
LeastThroughput = Annotated[
    str | None,
    typer.Option(
        "--least-throughput",
        metavar="RATIO",
        help="With --objective energy: share of your own throughput that must be kept; 0.80 by default.",
    ),
]
SamplesFrom = Annotated[
    str, typer.Option("--samples-from", metavar="SOURCE", help="batch, or config where rows are packed.")
]
Policies = Annotated[
    list[str] | None,
    typer.Option("--policies", metavar="FILE", help="Policies that the study's runs are held against."),
]
MemoryLimitRatio = Annotated[
    str | None,
    typer.Option(
        "--memory-limit-ratio",
        metavar="SHARE",
        help="Share of the device's memory that a recommendation may reserve; 0.90 by default.",
    ),
]
Seed = Annotated[str | None, typer.Option("--seed", metavar="N", help="Seed of the study's choices.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", metavar="DIR", help="Folder of the study; by default ./flyball_results/NAME."),
]
NoExplore = Annotated[
    bool,
    typer.Option(
        "--no-explore", metavar="", help="Try nothing in this run: run your own, or what is recommended."
    ),
]
FirstStepWithin = Annotated[
    str | None,
    typer.Option(
        "--first-step-within",
        metavar="TIME",
        help="End a configuration that made no step by then; 10 times what yours took, at least 10m.",
    ),
]


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyGiven:
    """The options as they were typed."""

    study: str | None
    search_runs: str | None = None
    space: Path | None = None
    config: Path | None = None
    maps: list[str] | None = None
    objective: str | None = None
    least_throughput: str | None = None
    samples_from: str = "batch"
    policies: list[str] | None = None
    memory_limit_ratio: str | None = None
    seed: str | None = None
    output: Path | None = None
    no_explore: bool = False
    first_step_within: str | None = None

    def first_step_seconds(self) -> float | None:
        """Return ``--first-step-within`` in seconds; OptionError where it is none."""
        text = self.first_step_within
        return parse_duration(text, where="--first-step-within") if text is not None else None

    def stray(self) -> str | None:
        """Return an option that means nothing without ``--study``, where one was given."""
        given = {
            "--search-runs": self.search_runs,
            "--space": self.space,
            "--config": self.config,
            "--map": self.maps,
            "--objective": self.objective,
            "--least-throughput": self.least_throughput,
            "--samples-from": self.samples_from != "batch",
            "--policies": self.policies,
            "--memory-limit-ratio": self.memory_limit_ratio,
            "--seed": self.seed,
            "--output": self.output,
            "--no-explore": self.no_explore,
            "--first-step-within": self.first_step_within,
        }
        return next((option for option, value in given.items() if value), None)


def asked_of(given: StudyGiven, command: tuple[str, ...], database_url: str) -> "Asked | None":
    """Return what a run asks of its study; None where it is part of none.

    Raises:
        OptionError: an option is out of range, or stands without ``--study``.
    """
    if given.study is None:
        stray = given.stray()
        if stray is not None:
            mend = f"add --study NAME, or leave {stray} out"
            raise OptionError("belongs to a study", where=stray, mend=mend)
        return None
    from flyball.history.owner import Owner
    from flyball.tuners.between_runs.turn import Asked
    from flyball.tuners.options import StudyOptions

    check_name(given.study, what="a study", where="--study")
    _check_alone(os.environ)
    cwd = current_folder()
    objective = parse_objective(given.objective)
    options = StudyOptions(
        command=command,
        cwd=cwd,
        database_url=database_url,
        name=given.study,
        config=absolute(given.config, cwd, where="--config") if given.config else None,
        space=space_path(given.space, cwd) if given.space else None,
        trials=parse_whole(given.search_runs, where="--search-runs", least=1, most=MOST_SEARCH_RUNS),
        maps=parse_maps(given.maps or ()),
        objective=objective,
        least_throughput_ratio=parse_least_throughput(given.least_throughput, objective),
        samples_from=check_choice(given.samples_from, ("batch", "config"), where="--samples-from"),
        policies=policy_files(given.policies, cwd),
        memory_limit_ratio=parse_memory_limit_ratio(given.memory_limit_ratio or "0.90"),
        seed=parse_whole(given.seed, where="--seed", least=0, most=2**32 - 1),
        output=absolute_folder(given.output, cwd, where="--output"),
    )
    return Asked(
        options=options,
        owner=Owner.current(),
        explore=not given.no_explore,
        objective_given=given.objective is not None,
    )


def _check_alone(environment: Mapping[str, str]) -> None:
    """Raise OptionError below a launcher: each of its processes would take a configuration of its own."""
    for name in PROCESS_COUNTS:
        count = environment.get(name, "")
        if count.isdigit() and int(count) > 1:
            raise OptionError(
                f"this is one of the {count} processes of a launcher ({name})",
                where="--study",
                mend="put flyball run in front of the launcher, on one host",
            )
