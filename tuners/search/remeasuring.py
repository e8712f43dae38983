"""When a search runs a configuration once more to see whether the machine kept its speed, and which.

Declared before any run: a re-measurement is due ``EVERY`` search runs after the last one, and from
``FEWEST_BETWEEN`` on already where a drift was noticed, where a run lay far from what the surrogate thought
of it, or where the study was resumed. All of them together take at most ``SHARE`` of the time of the
search. What runs again is the fastest of the configurations that are not too dear for that and last ran at
least ``FEWEST_BETWEEN`` runs ago: of one that has just run, another run tells nothing of drift.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from flyball.runner.outcome import OutcomeKind
from flyball.tuners.base import Assignment, Phase, TrialReport
from flyball.tuners.search.drift import PHASES, STEADY, Drift, estimate, scaled
from flyball.tuners.search.surrogate import Observation, Surrogate

EVERY = 10
FEWEST_BETWEEN = 4
SHARE = 0.12
SURPRISE = 3.0
"""Standard deviations between a run and what was thought of it."""
NOW = -1
"""No run has this number: what is asked for it is asked for now."""
FEWEST_TO_EXPECT = 8
"""Runs before anything is thought of the next one."""


def measured(report: TrialReport) -> bool:
    """Whether a run has a rate."""
    return report.measurement is not None


@dataclass(kw_only=True)
class Remeasuring:
    """Follows the speed of the machine through one search.

    Args:
        history: every run of the study so far, in order.
        surrogate: of the space.
        point_of: the point of the space that a run's assignment means.
        share: of the time of the search that re-measurements may take; 0 is none, and nothing is corrected.
    """

    history: Callable[[], Sequence[TrialReport]]
    surrogate: Surrogate
    point_of: Callable[[Assignment], Assignment]
    share: float = SHARE
    _known: int = -1
    _drift: Drift = STEADY

    def drift(self) -> Drift:
        """Return the drift that the runs so far show."""
        runs = self.history()
        if self.share and len(runs) != self._known:
            self._known, self._drift = len(runs), estimate(self.surrogate, runs, self.point_of)
        return self._drift

    def corrected(self) -> list[TrialReport]:
        """Return the runs of the search, its baseline first, at the speed that the machine had at that one.

        Runs of one configuration have the geometric mean of their rates: the luck of one is not the best's.
        """
        found = [self.drift().corrected(each) for each in self._runs()]
        logs: dict[str, list[float]] = {}
        for each in found:
            if each.measurement is not None:
                logs.setdefault(each.configuration.digest, []).append(log_rate(each))
        means = {digest: fmean(each) for digest, each in logs.items()}
        return [
            scaled(each, math.exp(means[each.configuration.digest] - log_rate(each)))
            if each.measurement is not None
            else each
            for each in found
        ]

    def observations(self, wanted: Callable[[TrialReport], bool] = measured) -> list[Observation]:
        """Return the measured runs that are wanted, at the speed that the machine had at the first."""
        runs = [self.drift().corrected(each) for each in self._runs() if measured(each) and wanted(each)]
        return [
            Observation(
                assignment=self.point_of(each.configuration.assignment), value=math.exp(log_rate(each))
            )
            for each in runs
        ]

    def expected(self, assignment: Assignment) -> tuple[float, float] | None:
        """Return the log rate that a run now would have, and its error; None while too little is known."""
        seen = self.observations()
        if not self.share or len(seen) < FEWEST_TO_EXPECT:
            return None
        belief = self.surrogate.belief(seen, [assignment])
        error = math.hypot(math.sqrt(max(0.0, float(belief.covariance[0, 0]))), belief.noise)
        return float(belief.means[0]) + self.drift().at(NOW), error

    def due(self, *, early: bool) -> TrialReport | None:
        """Return the run whose configuration is to run again now, or None.

        Args:
            early: whether there is a reason not to wait for ``EVERY`` runs.
        """
        runs = self._runs()
        since = next(
            (n for n, each in enumerate(reversed(runs)) if each.phase is not Phase.SEARCH), len(runs)
        )
        if since < (FEWEST_BETWEEN if early or self.drift().noticed else EVERY):
            return None
        lately = {each.configuration.digest for each in runs[-FEWEST_BETWEEN:]}
        room = self._room(runs)
        old = [
            each
            for each in self.corrected()
            if each.measurement is not None
            and each.configuration.digest not in lately
            and each.total_seconds <= room
        ]
        return max(old, key=log_rate, default=None)

    def _runs(self) -> list[TrialReport]:
        kept = (each for each in self.history() if each.phase in PHASES)
        return [each for each in kept if each.outcome.kind is not OutcomeKind.INTERRUPTED]

    def _room(self, runs: Sequence[TrialReport]) -> float:
        """Return how long one more re-measurement may take, in seconds."""
        searched = sum(each.total_seconds for each in runs if each.phase is Phase.SEARCH)
        again = sum(each.total_seconds for each in runs if each.phase is Phase.REMEASUREMENT)
        return self.share / (1 - self.share) * searched - again


def log_rate(report: TrialReport) -> float:
    """Return the log of what a measured run is compared by."""
    if report.measurement is None:
        raise ValueError("a run without a measurement has no rate")
    return math.log(report.measurement.merit.point)
