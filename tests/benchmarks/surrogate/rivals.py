"""The searches that flyball's is held against: random points, and Optuna's TPE as it comes.

Both measure every run for the longest time, see what flyball sees, and take the fastest that they measured.
"""

import random
import warnings
from collections.abc import Callable

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState
from tests.benchmarks.surrogate.jobs import SimulatedJob
from tests.benchmarks.surrogate.noise import Recording, Replay
from tests.benchmarks.surrogate.runs import SimulatedClock, SimulatedRunner, TrueSpeed
from tests.benchmarks.surrogate.studies import BUDGET_SECONDS, TRIALS, quiet
from tests.benchmarks.surrogate.surfaces import points

from flyball.tuners.base import Assignment, Configuration, Phase, TrialReport
from flyball.tuners.search.loop import rate_of
from flyball.tuners.space.space import Space
from flyball.tuners.trials.run_length import RunLength
from flyball.tuners.trials.trial_runner import Run

Measured = Callable[[Assignment], float | None]
"""Makes a run; None where it failed."""


def random_search(space: Space, measured: Measured, seed: int) -> None:
    """Measure points drawn without repetition."""
    every = points(space)
    for point in random.Random(f"random {seed}").sample(every, min(TRIALS, len(every))):
        measured(point)


def default_tpe(space: Space, measured: Measured, seed: int) -> None:
    """Ask Optuna's TPE with its own defaults; what fails it is told as pruned."""
    quiet()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(storage=InMemoryStorage(), direction="maximize", sampler=sampler)
    study.enqueue_trial(space.parameters(space.baseline_assignment()))
    for _ in range(TRIALS + 1):
        trial = study.ask()
        point = space.suggest(trial)
        # An illegal point costs it a trial, as it would outside of a simulation.
        value = None if space.findings(point) else measured(point)
        if value is None:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, value)


RIVALS = {"random search": random_search, "default TPE": default_tpe}


def pick(rival: str, job: SimulatedJob, recording: Recording, speed: TrueSpeed, seed: int) -> float:
    """Return the true speed of the fastest point that a rival measured, the user's own included."""
    space = job.space()
    runner = SimulatedRunner(
        job=job,
        complete=space.completed,
        speed=speed,
        replay=Replay(recording=recording, draw=random.Random(seed)),
        clock=SimulatedClock(),
        fixed_length=True,
    )
    length = RunLength(budget_seconds=BUDGET_SECONDS)
    made: list[TrialReport] = []

    def run(point: Assignment) -> float | None:
        configuration: Configuration = space.render(point)
        made.append(
            runner.run(
                Run(
                    number=len(made),
                    phase=Phase.SEARCH,
                    configuration=configuration,
                    precision=length.own_precision(),
                )
            )
        )
        return rate_of(made[-1]) or None

    run(space.baseline_assignment())
    RIVALS[rival](space, run, seed)
    return speed(space.completed(max(made, key=rate_of).configuration.assignment)) or 0.0
