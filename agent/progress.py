"""What a study has told so far, kept for whoever draws it."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Phase, TrialReport, Value
from flyball.tuners.objective import Objective


@dataclass(kw_only=True, slots=True)
class RunningTrial:
    """The run that is under way."""

    number: int
    phase: Phase
    changes: Mapping[str, Value]
    started: float
    """On the clock of the progress, in seconds."""
    steps: int = 0
    samples_per_second: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedTrial:
    """One row of the table."""

    number: int
    phase: Phase
    outcome: OutcomeKind
    reason: str
    changes: Mapping[str, Value]
    merit: float | None
    """What its study compares it by; more is better."""
    value: float | None
    """The same in the objective's own unit."""
    total_seconds: float
    best: bool


@dataclass(kw_only=True, slots=True)
class Progress:
    """The state of a study, as its observer sees it; times are seconds on one monotonic clock."""

    started: float
    name: str = ""
    budget_seconds: float | None = None
    running: RunningTrial | None = None
    recent: deque[FinishedTrial] = field(default_factory=lambda: deque(maxlen=50))
    outcomes: Counter[OutcomeKind] = field(default_factory=Counter)
    objective: Objective = Objective.THROUGHPUT
    """What the runs are compared by, as the newest measured one told it."""
    baseline: FinishedTrial | None = None
    """The newest completed run of the user's own configuration."""
    best: FinishedTrial | None = None
    phase: Phase | None = None
    left_seconds: float | None = None
    left_said: float = 0.0
    """When ``left_seconds`` was said."""

    def start_trial(self, number: int, phase: Phase, changes: Mapping[str, Value], *, now: float) -> None:
        """A run starts."""
        self.phase = phase
        self.running = RunningTrial(number=number, phase=phase, changes=dict(changes), started=now)

    def advance_trial(self, number: int, steps: int, samples_per_second: float | None) -> None:
        """The running trial got on; word of another one is stale and is dropped."""
        if self.running is not None and self.running.number == number:
            self.running.steps = steps
            self.running.samples_per_second = samples_per_second

    def finish_trial(self, report: TrialReport, *, best: bool) -> None:
        """A run ended."""
        same = self.running is not None and self.running.number == report.number
        changes = self.running.changes if same and self.running else report.configuration.assignment
        run = report.measurement
        row = FinishedTrial(
            number=report.number,
            phase=report.phase,
            outcome=report.outcome.kind,
            reason=report.outcome.reason,
            changes=changes,
            merit=run.merit.point if run else None,
            value=run.value.point if run else None,
            total_seconds=report.total_seconds,
            best=best,
        )
        self.recent.append(row)
        self.outcomes[row.outcome] += 1
        if run is not None:
            self.objective = run.objective
        if report.phase is Phase.BASELINE and run is not None:
            self.baseline = row
        if best:
            self.best = row
        if same:
            self.running = None

    def expect(self, left_seconds: float | None, *, now: float) -> None:
        """The study says how long it still takes."""
        self.left_seconds, self.left_said = left_seconds, now

    def seconds_left(self, now: float) -> float | None:
        """What was said, less the time since."""
        if self.left_seconds is None:
            return None
        return max(0.0, self.left_seconds - (now - self.left_said))

    def ratio(self, row: FinishedTrial) -> float | None:
        """Return a run's gain over the baseline, or None where one of them is unknown."""
        if row.merit is None or self.baseline is None or not self.baseline.merit:
            return None
        return row.merit / self.baseline.merit
