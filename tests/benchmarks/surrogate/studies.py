"""One simulated study: flyball's own phases over a record in memory, without a process or a database."""

import contextlib
import logging
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from tests.benchmarks.surrogate.jobs import COMMAND, SimulatedJob, study_folder
from tests.benchmarks.surrogate.noise import Recording, Replay
from tests.benchmarks.surrogate.runs import Pace, SimulatedClock, SimulatedRunner, TrueSpeed, steady

from flyball.tuners.base import Interval, Phase, TrialReport
from flyball.tuners.interruption import Interruption
from flyball.tuners.options import StudyOptions
from flyball.tuners.search.loop import rate_of
from flyball.tuners.search.remeasuring import SHARE
from flyball.tuners.search.surrogate import Observation, Surrogate
from flyball.tuners.space.space import Space
from flyball.tuners.study.phases import Study
from flyball.tuners.study.setup import Launchers
from flyball.tuners.trials.trial_runner import Run
from flyball.tuners.verification.final_runs import FinalRuns, Verdict
from flyball.tuners.verification.verification import Decision

TRIALS = 25
BUDGET_SECONDS = 1800.0
"""Flyball's own default."""


class Silent:
    """An observer that shows nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **options: None


@dataclass(kw_only=True)
class Record:
    """Stands in for ``Ledger``: the record of one study, in memory."""

    seed: int
    output: Path
    name: str = "simulated"
    machine: Any = field(default_factory=lambda: SimpleNamespace(gpus=()))
    made: list[TrialReport] = field(default_factory=list)

    study_name = "simulated"

    def optuna_storage(self) -> InMemoryStorage:
        """Return a storage of its own."""
        return InMemoryStorage()

    def next_number(self) -> int:
        """Return the number of the next run."""
        return len(self.made)

    def reports(self, *phases: Phase) -> list[TrialReport]:
        """Return the runs, of some phases or of all."""
        return [report for report in self.made if not phases or report.phase in phases]

    @contextlib.contextmanager
    def trial(self, wanted: Run, *, label: str, optuna_number: int | None) -> Iterator[Any]:
        """Record a run around its making."""
        yield self.made.append

    def trial_folder(self, number: int) -> Path:
        """Return where a run's files would lie."""
        return self.output / str(number)

    def recorded(self, label: str, digest: str) -> None:
        """Nothing was recorded by an earlier part."""

    def settle(self, search: Any) -> None:
        """Nothing was left untold."""

    def observations_elsewhere(self) -> list[Any]:
        """There were no other studies."""
        return []

    def stop_if_asked(self, interruption: Interruption) -> None:
        """Nobody asks."""

    def renew(self) -> None:
        """Nobody waits for a sign of life."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one study came to, and what is true."""

    decision: Decision
    assignment: Mapping[str, Any] | None
    """Of the recommended configuration; None where the user's own stands."""
    gain: float
    """True speed of the recommended configuration over the user's own, 1 where that stands."""
    entered: Mapping[str, Any] | None
    """Assignment of the first candidate of verification."""
    promised: Interval | None
    """The printed speed-up with its interval, where something was recommended."""
    picked: float
    """True speed of what the surrogate thinks fastest after the search, of what was run; the user's own
    included."""
    noticed: bool
    """Whether a drift of the machine was noticed."""
    search_seconds: float
    remeasured_seconds: float
    """Of them, that re-measurements took."""
    seconds: float
    search_runs: int
    play_off_runs: int
    verification_runs: int
    rounds: int


def simulate(
    job: SimulatedJob,
    recording: Recording,
    speed: TrueSpeed,
    seed: int,
    *,
    trials: int | None = TRIALS,
    budget_seconds: float | None = BUDGET_SECONDS,
    fixed_length: bool = False,
    verified: bool = True,
    pace: Pace = steady,
    drift_share: float = SHARE,
) -> Outcome:
    """Run one study to its verdict.

    Args:
        job: what is tuned.
        recording: the noise of its runs.
        speed: the truth.
        seed: of everything that is drawn.
        trials: the most search trials; None leaves it to the budget and to flyball's patience.
        budget_seconds: of the whole study.
        fixed_length: measure every search run for the longest time.
        verified: whether to go on after the search.
        pace: of the machine.
        drift_share: of the search's time, for seeing its drift; 0 takes it for steady.
    """
    quiet()
    clock = SimulatedClock()
    record = Record(seed=seed, output=study_folder())
    study = Study(
        options=StudyOptions(
            command=COMMAND,
            cwd=study_folder(),
            database_url="",
            space=job.space_file,
            trials=trials,
            budget_seconds=budget_seconds,
            seed=seed,
        ),
        job=job.job(),
        ledger=record,  # type: ignore[arg-type]
        launchers=Launchers(usual=Silent(), cold=Silent()),  # type: ignore[arg-type]
        observer=Silent(),  # type: ignore[arg-type]
        interruption=Interruption(),
        clock=clock,
        drift_share=drift_share,
    )
    space = job.space()
    study.runner = SimulatedRunner(  # type: ignore[assignment]
        job=job,
        complete=space.completed,
        speed=speed,
        replay=Replay(recording=recording, draw=random.Random(seed)),
        clock=clock,
        pace=pace,
        fixed_length=fixed_length,
        limits=study.runner.limits,
    )
    study.spending.begin()
    baseline = study.baseline()
    reports = study.search(baseline)
    searched = clock.now
    verification = study.verification()
    verdict = verification.verify(baseline, reports) if verified else None
    return outcome(
        record,
        space,
        speed,
        baseline,
        reports,
        verdict,
        verification.final,
        searched,
        clock,
        noticed=study.drift.noticed,
    )


def outcome(
    record: Record,
    space: Space,
    speed: TrueSpeed,
    baseline: TrialReport,
    reports: list[TrialReport],
    verdict: Verdict | None,
    final: FinalRuns | None,
    searched: float,
    clock: SimulatedClock,
    *,
    noticed: bool,
) -> Outcome:
    """Hold what a study came to against the truth."""

    def true(report: TrialReport) -> float:
        return speed(space.completed(report.configuration.assignment)) or 0.0

    own = speed(space.baseline_assignment()) or 1.0
    recommended = verdict is not None and verdict.decision is Decision.RECOMMENDED
    winner = final.candidates[verdict.winner or ""] if recommended and verdict and final else None
    point = space.completed(winner.assignment) if winner else None
    candidates = list(final.candidates.values()) if final else []
    return Outcome(
        decision=verdict.decision if verdict else Decision.UNVERIFIED,
        assignment=point,
        gain=(speed(point) or 0.0) / own if point else 1.0,
        entered=space.completed(candidates[0].assignment) if candidates else None,
        promised=verdict.verification.speedup if recommended and verdict else None,
        picked=true(thought_fastest([baseline, *reports], space)),
        noticed=noticed,
        search_seconds=searched,
        remeasured_seconds=sum(each.total_seconds for each in record.reports(Phase.REMEASUREMENT)),
        seconds=clock.monotonic(),
        search_runs=len(record.reports(Phase.SEARCH)),
        play_off_runs=len(record.reports(Phase.PLAY_OFF)),
        verification_runs=len(record.reports(Phase.VERIFICATION)),
        rounds=verdict.verification.rounds if verdict else 0,
    )


def thought_fastest(reports: list[TrialReport], space: Space) -> TrialReport:
    """Return who would go into verification if it began here: the first of the surrogate's ranking."""
    points = [space.completed(each.configuration.assignment) for each in reports]
    seen = [
        Observation(assignment=point, value=rate_of(each))
        for point, each in zip(points, reports, strict=True)
    ]
    belief = Surrogate(entries=space.entries).belief(seen, points)
    return reports[int(belief.means.argmax())]


def quiet() -> None:
    """Keep Optuna from talking: a study asks it thirty times."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("optuna").setLevel(logging.ERROR)
