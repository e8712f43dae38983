"""How the speed of the machine itself moved while a study searched, and the rates without it.

Clocks, heat and neighbours move all configurations alike, so that what ran late compares badly or well with
what ran early. The log rate of a run is taken for the sum of its point's own speed (the surrogate's process
over the knobs), of the machine's drift (a random walk in time that begins at nothing with the first run) and
of the run's own luck. How far the drift goes is learned with the sizes of the other two from all runs; those
of one point at several times tell most.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from flyball.tuners.base import Assignment, Interval, Phase, TrialReport
from flyball.tuners.search.surrogate import Surrogate, scale_grid

Array = npt.NDArray[np.float64]

PHASES = (Phase.BASELINE, Phase.SEARCH, Phase.REMEASUREMENT)
EXPECTED_DRIFT, DRIFT_DOUBT, LEAST_DRIFT = 0.015, 1.0, 1e-3
"""Standard deviation of the drift from the first run to the last, before any was seen; that of its logarithm;
and what counts as no drift."""
RATIOS = (0.0, 0.03, 0.06, 0.12, 0.25, 0.5, 1.0, 2.0)
"""Drift over the size of the knobs' effects: among these the likeliest is taken."""
FEWEST_RUNS = 4
"""Of fewer, nothing can be told."""
CERTAIN = 2.0
"""Standard deviations from nothing at which a drift is noticed."""
WORTH_SAYING = 0.02
"""A smaller move of the log rate is not spoken of."""
LONGEST_BREAK = 60.0
"""Seconds between two runs beyond which the study did not run: they count as time, shorter ones do not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """The machine's log speed at the runs of a study and after the last of them; nothing at the first.

    Args:
        numbers: of the runs.
        seconds: of the study at the middle of each run, and at the end of the last.
        means: one more than runs; the last is now.
        covariance: of the same.
    """

    numbers: tuple[int, ...]
    seconds: Array
    means: Array
    covariance: Array

    def at(self, number: int) -> float:
        """Return the log speed at a run, that of now for one which is not known; 0 until drift is noticed."""
        return float(self.means[self._place(number)]) if self.noticed else 0.0

    def since(self, number: int) -> tuple[float, float]:
        """Return the move of the log speed from a run to now, and its standard deviation."""
        place = self._place(number)
        variance = self.covariance[place, place] + self.covariance[-1, -1] - 2 * self.covariance[place, -1]
        return float(self.means[-1] - self.means[place]), math.sqrt(max(0.0, float(variance)))

    def corrected(self, report: TrialReport) -> TrialReport:
        """Return a run as it would have been at the speed of the first one."""
        return scaled(report, math.exp(-self.at(report.number)))

    @property
    def now(self) -> Interval:
        """The speed of the machine now over that of the first run."""
        return self._speed(len(self.means) - 1)

    @property
    def furthest(self) -> Interval:
        """The same where it was furthest from one."""
        return self._speed(int(np.argmax(np.abs(self.means))))

    @property
    def noticed(self) -> bool:
        """Whether the speed has certainly moved somewhere by more than is not worth saying."""
        deviations = np.sqrt(np.maximum(np.diagonal(self.covariance), 0.0))
        certain = np.abs(self.means) > CERTAIN * deviations
        return bool((certain & (np.abs(self.means) > WORTH_SAYING)).any())

    def course(self) -> tuple[tuple[int, float, float], ...]:
        """Return number, seconds and relative speed of each run."""
        speeds = np.exp(self.means[:-1])
        return tuple(
            (number, float(seconds), float(speed))
            for number, seconds, speed in zip(self.numbers, self.seconds[:-1], speeds, strict=True)
        )

    def _place(self, number: int) -> int:
        return self.numbers.index(number) if number in self.numbers else len(self.numbers)

    def _speed(self, place: int) -> Interval:
        mean = float(self.means[place])
        error = CERTAIN * math.sqrt(max(0.0, float(self.covariance[place, place])))
        return Interval(point=math.exp(mean), low=math.exp(mean - error), high=math.exp(mean + error))


STEADY = Drift(numbers=(), seconds=np.zeros(1), means=np.zeros(1), covariance=np.zeros((1, 1)))
"""A machine that keeps its speed."""


def estimate(
    surrogate: Surrogate, runs: Sequence[TrialReport], point_of: Callable[[Assignment], Assignment]
) -> Drift:
    """Return the drift that the measured runs of baseline, search and re-measurements show.

    Args:
        surrogate: of the space.
        runs: of the study in order, those without a measurement included: they took time.
        point_of: the point of the space that a run's assignment means.
    """
    middles, end = timeline(runs)
    known = [
        (each, middle)
        for each, middle in zip(runs, middles, strict=True)
        if each.measurement is not None and each.phase in PHASES
    ]
    if len(known) < FEWEST_RUNS:
        return STEADY
    logs = np.array([math.log(each.measurement.merit.point) for each, _ in known if each.measurement])
    times = np.array([*(middle for _, middle in known), end])
    times = times - times[0]
    own = surrogate.coordinates([point_of(each.configuration.assignment) for each, _ in known])
    means, covariance = _walk(surrogate.kernel(own, own), times, logs)
    return Drift(
        numbers=tuple(each.number for each, _ in known), seconds=times, means=means, covariance=covariance
    )


def timeline(runs: Sequence[TrialReport]) -> tuple[list[float], float]:
    """Return at which second of the study each run was in the middle of stepping, and the last one ended."""
    middles, end = [], 0.0
    for run in runs:
        if run.paused_seconds > LONGEST_BREAK:
            end += run.paused_seconds
        started = min(run.total_seconds, run.waited_seconds + (run.startup_seconds or 0.0))
        middles.append(end + (started + run.total_seconds) / 2)
        end += run.total_seconds
    return middles, end


def scaled(report: TrialReport, factor: float) -> TrialReport:
    """Return a run whose merit is multiplied."""
    run = report.measurement
    if run is None:
        return report
    merit = run.merit
    changed = Interval(point=merit.point * factor, low=merit.low * factor, high=merit.high * factor)
    return replace(report, measurement=run.with_merit(changed))


def _walk(matrix: Array, times: Array, logs: Array) -> tuple[Array, Array]:
    """Return mean and covariance of the walk at all times; the last of them is that of no run."""
    walk = np.minimum.outer(times, times) / times[-1]
    runs = len(logs)
    best: tuple[float, float, float, float] = (0.0, 1.0, 1.0, 0.0)
    lowest = math.inf
    for share in RATIOS:
        grid = scale_grid(matrix + share**2 * walk[:runs, :runs], logs)
        size = np.maximum(share * grid.effects, LEAST_DRIFT)
        misfit = grid.misfit + (np.log(size / EXPECTED_DRIFT) / DRIFT_DOUBT) ** 2
        at = int(np.argmin(misfit))
        if float(misfit[at]) < lowest:
            lowest = float(misfit[at])
            best = (share, float(grid.effects[at]), float(grid.noise[at]), float(grid.middle[at]))
    ratio, effects, noise, middle = best
    drifted = ratio * effects
    whole = effects**2 * matrix + drifted**2 * walk[:runs, :runs] + noise**2 * np.eye(runs)
    across = drifted**2 * walk[:, :runs]
    solved = np.linalg.solve(whole, np.column_stack([logs - middle, across.T]))
    return across @ solved[:, 0], drifted**2 * walk - across @ solved[:, 1:]
