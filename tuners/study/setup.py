"""What a study starts from: its launchers, its limits, its space."""

from dataclasses import dataclass, replace

from flyball.runner.base import Launcher
from flyball.tuners.job.job import Job
from flyball.tuners.objective import Objective
from flyball.tuners.options import StudyOptions
from flyball.tuners.space.space import Space, load_space

DEFAULT_BUDGET_SECONDS = 1800.0
"""Where neither --budget nor --trials is given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launchers:
    """Who starts the runs of a study."""

    usual: Launcher
    """For most runs."""
    cold: Launcher
    """For the runs that must start as the user's own command does."""


def with_limits(options: StudyOptions) -> StudyOptions:
    """Return the options with the default budget where the user set no limit at all."""
    if options.trials is None and options.budget_seconds is None:
        return replace(options, budget_seconds=DEFAULT_BUDGET_SECONDS)
    return options


def space_of(options: StudyOptions, job: Job) -> Space:
    """Return the space that the options mean for this job.

    Raises:
        SpaceError: the file is malformed.
    """
    return load_space(
        options.space,
        job.config,
        job.context,
        allow_global_batch=options.allow_global_batch,
        hold_global_batch=options.objective is Objective.LATENCY,
    )
