"""The search: ask for a point, run it, tell what came of it, until time, trials or patience run out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Assignment, Configuration, Phase, StudyObserver, TrialReport, Value
from flyball.tuners.interruption import Interruption
from flyball.tuners.recommendation import memory_share
from flyball.tuners.sampler import Proposal, Search
from flyball.tuners.space import Space
from flyball.tuners.spending import Spending
from flyball.tuners.surrogate import OUT_OF_MEMORY
from flyball.tuners.throughput_guard import shortfall

EXHAUSTED = "every legal point was tried"
LEAST_THROUGHPUT = "least_throughput"
PATIENCE = 15
"""Search trials without a new best after which a study that was given no number of trials ends its search."""
WORTH_NOTICING = 1.01
"""A best that is not better by this factor does not renew the patience."""

MakeRun = Callable[[Phase, Configuration, Mapping[str, Value], float | None, int | None], TrialReport]
"""Makes one recorded run: phase, configuration, changes, lower bound of the best, Optuna's number."""


@dataclass(kw_only=True, slots=True)
class SearchLoop:
    """Searches from a measured baseline.

    Args:
        trials: the most search trials, or None for patience.
        memory_limit_ratio: what reserves more is told to the sampler as a violated constraint.
        throughput_floor: likewise what trains at less than this share of the baseline's throughput.
    """

    search: Search
    space: Space
    baseline: TrialReport
    make_run: MakeRun
    observer: StudyObserver
    interruption: Interruption
    spending: Spending
    trials: int | None
    memory_limit_ratio: float
    throughput_floor: float | None = None
    reports: list[TrialReport] = field(default_factory=list)
    _since_best: int = 0

    def best(self) -> TrialReport:
        """The best run so far that keeps to the limits, the baseline included."""
        return max((self.baseline, *filter(self.eligible, self.reports)), key=rate_of)

    def run(self) -> str:
        """Search; return why it ended."""
        while True:
            reason = self._why_stop()
            if reason:
                return reason
            proposal = self.search.ask()
            if proposal is None:
                return EXHAUSTED
            self._one(proposal)

    def _why_stop(self) -> str | None:
        if self.interruption.finish_requested:
            return "stopped by the user"
        if self.trials is not None and len(self.reports) >= self.trials:
            return f"{self.trials} trials were made"
        if not self.spending.may_search():
            return "the rest of the budget belongs to verification"
        if self.trials is None and self._since_best >= PATIENCE:
            return f"no better point in {PATIENCE} trials"
        return None

    def _one(self, proposal: Proposal) -> None:
        best = self.best()
        measured = best.measurement
        report = self.make_run(
            Phase.SEARCH,
            self.space.render(proposal.assignment),
            changed_knobs(self.space, proposal.assignment),
            measured.merit.low if measured else None,
            proposal.trial.number,
        )
        self.reports.append(report)
        self.search.memory.learn(report)
        improved = self.eligible(report) and rate_of(report) > rate_of(best)
        renewed = improved and rate_of(report) > rate_of(best) * WORTH_NOTICING
        self._since_best = 0 if renewed else self._since_best + 1
        self._tell(proposal, report)
        self.observer.trial_finished(report, best=improved)
        self.observer.time_left(self.spending.left())

    def eligible(self, report: TrialReport) -> bool:
        """Whether a run was measured and kept to the limits of memory and throughput."""
        run = report.measurement
        share = memory_share(run) if run else None
        fits = run is not None and (share is None or share <= self.memory_limit_ratio)
        return fits and not self._shortfall(report)

    def _untold_before(self, report: TrialReport) -> bool:
        return any(
            other is not report
            and other.configuration.digest == report.configuration.digest
            and other.measurement is None
            for other in self.reports
        )

    def _shortfall(self, report: TrialReport) -> float:
        own, run = self.baseline.measurement, report.measurement
        return shortfall([own], [run], self.throughput_floor) if own and run else 0.0

    def _tell(self, proposal: Proposal, report: TrialReport) -> None:
        kind, run = report.outcome.kind, report.measurement
        if kind is OutcomeKind.INTERRUPTED:
            self.search.tell_failed(proposal.trial)
        elif kind is OutcomeKind.OUT_OF_MEMORY:
            self.search.tell_infeasible(proposal.trial, OUT_OF_MEMORY)
        elif run is None and kind is OutcomeKind.COMPLETED and not self._untold_before(report):
            # It ran; what the study compares by was not to be had, which once says nothing of the point.
            self.search.tell_failed(proposal.trial)
        elif run is None:
            self.search.tell_infeasible(proposal.trial, kind.value)
        elif lacking := self._shortfall(report):
            self.search.tell_infeasible(proposal.trial, LEAST_THROUGHPUT, lacking)
        elif not self.eligible(report):
            share = memory_share(run) or self.memory_limit_ratio
            excess = share / self.memory_limit_ratio - 1
            self.search.tell_infeasible(proposal.trial, "memory_limit", max(excess, 1e-6))
        else:
            self.search.tell_completed(proposal.trial, run.merit.point)


def rate_of(report: TrialReport) -> float:
    """Return what a report is compared by, more being better; 0 where nothing was measured."""
    return report.measurement.merit.point if report.measurement else 0.0


def changed_knobs(space: Space, assignment: Assignment) -> dict[str, Value]:
    """Return the knobs whose value is not the user's own."""
    own = space.baseline_assignment()
    return {name: value for name, value in assignment.items() if own.get(name) != value}
