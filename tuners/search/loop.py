"""The search: ask for a point, run it, tell what came of it, until time, trials or patience run out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Assignment, Configuration, Phase, StudyObserver, TrialReport, Value
from flyball.tuners.interruption import Interruption
from flyball.tuners.results.recommendation import memory_share
from flyball.tuners.search.drift import CERTAIN, WORTH_SAYING
from flyball.tuners.search.drift_report import drift_line
from flyball.tuners.search.remeasuring import NOW, SURPRISE, Remeasuring, log_rate
from flyball.tuners.search.sampler import Proposal, Search
from flyball.tuners.search.surrogate import OUT_OF_MEMORY
from flyball.tuners.space.space import Space
from flyball.tuners.trials.spending import Spending
from flyball.tuners.verification.throughput_guard import shortfall

EXHAUSTED = "every legal point was tried"
LEFT_FOR_VERIFICATION = "the rest of the budget belongs to verification"
NO_VERIFICATION = "the budget is searched through and holds no verification; give a larger --budget"
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
        trials: the most search trials, or None for patience; re-measurements come on top.
        memory_limit_ratio: what reserves more is told to the sampler as a violated constraint.
        throughput_floor: likewise what trains at less than this share of the baseline's throughput.
        reports: of the search, those before a resume included.
    """

    search: Search
    space: Space
    baseline: TrialReport
    make_run: MakeRun
    observer: StudyObserver
    interruption: Interruption
    spending: Spending
    remeasuring: Remeasuring
    trials: int | None
    memory_limit_ratio: float
    throughput_floor: float | None = None
    reports: list[TrialReport] = field(default_factory=list)
    _since_best: int = 0
    _early: bool = False
    """Whether the machine's speed is looked at before it is due: a surprise, a resumed study."""
    _said: float = 0.0
    """Log speed of the machine that was last spoken of."""

    def __post_init__(self) -> None:
        self._early = bool(self.reports)

    def corrected(self) -> list[TrialReport]:
        """Return the search's runs at the speed that the machine had at the baseline.

        Each by its one run of the search: what ran again must not lose to the luck of what did not.
        """
        return [self.remeasuring.drift().corrected(each) for each in self.reports]

    def best(self) -> TrialReport:
        """The best run so far that keeps to the limits, the baseline included, drift taken out."""
        runs = self.remeasuring.corrected()
        own = next((each for each in runs if each.phase is Phase.BASELINE), self.baseline)
        return max((own, *filter(self.eligible, runs)), key=rate_of)

    def run(self) -> str:
        """Search; return why it ended."""
        self._learn_drift()
        while True:
            reason = self._why_stop()
            if reason:
                return reason
            again = self.remeasuring.due(early=self._early)
            if again is not None:
                self._again(again)
                continue
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
            return NO_VERIFICATION if self.spending.verification_is_lost() else LEFT_FOR_VERIFICATION
        if self.trials is None and self._since_best >= PATIENCE:
            return f"no better point in {PATIENCE} trials"
        return None

    def _again(self, earlier: TrialReport) -> None:
        """Run a configuration once more: what it lost or gained is the machine's."""
        own = earlier.configuration
        report = self.make_run(
            Phase.REMEASUREMENT, own, changed_knobs(self.space, own.assignment), None, None
        )
        self._early = False
        self.search.memory.learn(report)
        self._learn_drift()
        self.observer.trial_finished(report, best=False)
        self.observer.time_left(self.spending.left())

    def _one(self, proposal: Proposal) -> None:
        best, expected = self.best(), self.remeasuring.expected(proposal.assignment)
        report = self.make_run(
            Phase.SEARCH,
            self.space.render(proposal.assignment),
            changed_knobs(self.space, proposal.assignment),
            self._bound(best),
            proposal.trial.number,
        )
        self.reports.append(report)
        self.search.memory.learn(report)
        self._learn_drift()
        fair = self.remeasuring.drift().corrected(report)
        improved = self.eligible(report) and rate_of(fair) > rate_of(best)
        renewed = improved and rate_of(fair) > rate_of(best) * WORTH_NOTICING
        self._since_best = 0 if renewed else self._since_best + 1
        self._early = self._early or surprising(report, expected)
        self._tell(proposal, report, fair)
        self.observer.trial_finished(report, best=improved)
        self.observer.time_left(self.spending.left())

    def _bound(self, best: TrialReport) -> float | None:
        """Return the rate that the best would certainly have now, which a run must be able to reach."""
        if best.measurement is None:
            return None
        drift = self.remeasuring.drift()
        _, error = drift.since(best.number)
        return best.measurement.merit.low * math.exp(drift.at(NOW) - CERTAIN * error)

    def _learn_drift(self) -> None:
        """Work the drift out anew, let the sampler see rates without it, and say it where it has moved on."""
        self.search.measured = self.remeasuring.observations(self.eligible)
        drift = self.remeasuring.drift()
        if drift.noticed and abs(math.log(drift.now.point) - self._said) > WORTH_SAYING:
            self._said = math.log(drift.now.point)
            self.observer.note(drift_line(drift))

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

    def _tell(self, proposal: Proposal, report: TrialReport, fair: TrialReport) -> None:
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
            self.search.tell_completed(proposal.trial, rate_of(fair))


def surprising(report: TrialReport, expected: tuple[float, float] | None) -> bool:
    """Whether a run lay far from what was thought of it; one that failed says nothing of speed."""
    if expected is None or report.measurement is None:
        return False
    log, error = expected
    return abs(log_rate(report) - log) > SURPRISE * error


def rate_of(report: TrialReport) -> float:
    """Return what a report is compared by, more being better; 0 where nothing was measured."""
    return report.measurement.merit.point if report.measurement else 0.0


def changed_knobs(space: Space, assignment: Assignment) -> dict[str, Value]:
    """Return the knobs whose value is not the user's own."""
    own = space.baseline_assignment()
    return {name: value for name, value in assignment.items() if own.get(name) != value}
