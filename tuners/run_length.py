"""How long a run is measured, and when one is given up: from the budget and from the user's own run."""

import math
from dataclasses import dataclass, replace

from flyball.runner.base import Limits
from flyball.tuners.base import TrialReport
from flyball.tuners.stopping import Precision

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


@dataclass(frozen=True, kw_only=True, slots=True)
class RunLength:
    """The lengths of one study's runs.

    Args:
        budget_seconds: of the whole study; None is no limit.
    """

    budget_seconds: float | None

    def own_precision(self) -> Precision:
        """How well the user's own run is measured, of which nothing is known yet."""
        patience = (
            math.inf
            if self.budget_seconds is None
            else max(LONGEST_RUN_SECONDS, self.budget_seconds * OWN_SHARE)
        )
        return Precision(max_seconds=self._longest(), min_steps=STEPS_IN_BASELINE, patience_seconds=patience)

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

    def precision(self, baseline: TrialReport, *, min_samples: float = 0.0) -> Precision:
        """How well every later run is measured."""
        step = baseline.measurement.step_seconds_median if baseline.measurement else 0.0
        return Precision(max_seconds=max(self._longest(), STEPS_IN_A_RUN * step), min_samples=min_samples)

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
