"""How long a run is measured, and when one is given up: from the budget and from the user's own run."""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace

from flyball.runner.base import Limits
from flyball.tuners.base import Measurement, TrialReport
from flyball.tuners.measurement.stopping import Precision
from flyball.tuners.objective import Objective

STEPS_IN_A_RUN = 25
"""A run is measured for at most this many steps where steps are long."""
LONGEST_RUN_SECONDS = 30.0
SHORTEST_RUN_SECONDS = 2.5
STEPS_IN_BASELINE = 12
RUNS_IN_A_BUDGET = 100
"""A budget is cut into about so many runs: fewer long ones verify less than more short ones."""
STARTUP_FACTOR = 5.0
PATIENT_SECONDS = 300.0
"""Silence after which even the user's own run hangs."""
OWN_SHARE = 0.2
"""Of the budget: how long the user's own run is measured at most, once there are steps enough for a rate."""
PATIENT_SHARE = 1 / 20
"""Of the budget: what a trial that hangs may cost before it is taken for one."""
LEAST_STARTUP_SECONDS = 120.0
PARTS_BETWEEN_LIMITS = 4.0
STEPS_WITHOUT_LIMIT = 10**9
WARMUP_FACTOR = 2.0
"""Of the seconds that an objective needs after warm-up: at most so long is a run measured for it in all."""
SHARE_OF_NOISE = 0.5
"""A run is measured no better than to this share of what runs of one configuration differ by: its interval's
half width over their standard deviation."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLength:
    """The lengths of one study's runs.

    Args:
        budget_seconds: of the whole study; None is no limit.
        objective: some are told by a run of some seconds only, however many steps that is.
    """

    budget_seconds: float | None
    objective: Objective = Objective.THROUGHPUT

    def own_precision(self) -> Precision:
        """How well the user's own run is measured, of which nothing is known yet."""
        patience = (
            math.inf
            if self.budget_seconds is None
            else max(LONGEST_RUN_SECONDS, self.budget_seconds * OWN_SHARE)
        )
        precision = Precision(
            max_seconds=self._longest(), min_steps=STEPS_IN_BASELINE, patience_seconds=patience
        )
        return self._long_enough(precision)

    def own_limits(self) -> Limits:
        """Return the limits of the user's own run: it may load for long.

        They are patient with silence too: a script may evaluate or save in a way that the probe does not see.
        """
        usual = Limits()
        startup = max(usual.startup_seconds, self.budget_seconds or 0.0)
        return replace(
            usual,
            startup_seconds=startup,
            total_seconds=max(usual.total_seconds, 2 * startup),
            hang_floor_seconds=PATIENT_SECONDS,
        )

    def precision(self, baseline: TrialReport, *, noise: float | None = None) -> Precision:
        """How well a run of the search is measured.

        Args:
            baseline: the user's own run.
            noise: standard deviation of the log rate between runs of one configuration, where it is known.
        """
        step = baseline.measurement.step_seconds_median if baseline.measurement else 0.0
        longest = max(self._longest(), STEPS_IN_A_RUN * step)
        return self._long_enough(Precision(max_seconds=longest, relative_half_width=well_enough(noise)))

    def _long_enough(self, precision: Precision) -> Precision:
        least = self.objective.terms.least_seconds
        if not least:
            return precision
        return replace(
            precision,
            min_seconds=max(precision.min_seconds, least),
            max_seconds=max(precision.max_seconds, WARMUP_FACTOR * least),
            max_steps=STEPS_WITHOUT_LIMIT,
        )

    def deciding(
        self,
        baseline: TrialReport,
        reports: Iterable[TrialReport],
        *,
        noise: float | None,
        min_samples: float = 0.0,
    ) -> Precision:
        """How long every run that decides is measured: all of them alike, so that no pair weighs more.

        As long as the search's runs needed to be known well enough beside the noise between runs, which
        longer ones do not lower. At most as long as a run of the search.

        Args:
            baseline: the user's own run.
            reports: of the search.
            noise: see :meth:`precision`.
            min_samples: that the loss guard asks for.
        """
        longest = self.precision(baseline).max_seconds
        wanted = well_enough(noise)
        needed = [
            run.seconds * (half_width(run) / wanted) ** 2
            for run in (report.measurement for report in (baseline, *reports))
            if run is not None
        ]
        seconds = min(longest, max(SHORTEST_RUN_SECONDS, statistics.median(needed) if needed else longest))
        return self._long_enough(
            Precision(
                relative_half_width=math.inf,
                min_seconds=seconds,
                min_samples=min_samples,
                max_seconds=longest,
            )
        )

    def limits(self, baseline: TrialReport) -> Limits:
        """Return the limits of every later run."""
        startup = max(LEAST_STARTUP_SECONDS, STARTUP_FACTOR * (baseline.startup_seconds or 0.0))
        measured, patience = self.precision(baseline).max_seconds, self._patience()
        return Limits(
            startup_seconds=startup,
            total_seconds=startup + PARTS_BETWEEN_LIMITS * measured + patience,
            hang_floor_seconds=patience,
        )

    def _patience(self) -> float:
        """Seconds of silence after which a trial hangs: it may evaluate unseen, by its bare module."""
        if self.budget_seconds is None:
            return PATIENT_SECONDS
        return min(PATIENT_SECONDS, max(Limits().hang_floor_seconds, self.budget_seconds * PATIENT_SHARE))

    def _longest(self) -> float:
        """Seconds that a run is measured for at most, where steps are short."""
        if self.budget_seconds is None:
            return LONGEST_RUN_SECONDS
        return min(LONGEST_RUN_SECONDS, max(SHORTEST_RUN_SECONDS, self.budget_seconds / RUNS_IN_A_BUDGET))


def well_enough(noise: float | None) -> float:
    """Return the half width that a run's interval needs, over its rate."""
    return max(Precision().relative_half_width, SHARE_OF_NOISE * (noise or 0.0))


def half_width(run: Measurement) -> float:
    """Return half the width of the interval of what a run is compared by, over it."""
    rate = run.merit
    return (rate.high - rate.low) / (2 * rate.point)
