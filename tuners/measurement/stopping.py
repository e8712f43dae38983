"""When a run has been measured well enough: precision, a limit, or having lost the race already."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flyball.collectors.gpu_recorder import GpuRecorder
from flyball.collectors.journal import RankJournal
from flyball.tuners.measurement.interval import FEWEST_STEPS, Rate
from flyball.tuners.measurement.measurement import Reading
from flyball.tuners.measurement.series import TimeLine
from flyball.tuners.objective import Objective, figure

GROWTH_BETWEEN_LOOKS = 0.02
"""Share by which the number of steps must have grown before the interval is worth computing again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Precision:
    """How well a run is to be measured, and at most how long."""

    relative_half_width: float = 0.02
    """Of the rate's 95% interval."""
    min_steps: int = 10
    """After warm-up; never fewer than ``measurement_interval.FEWEST_STEPS`` are used."""
    min_seconds: float = 0.5
    """After warm-up."""
    min_samples: float = 0.0
    """Seen by all replicas, warm-up included, before precision is enough: what a loss guard asks for."""
    max_steps: int = 500
    """Warm-up included."""
    max_seconds: float = 60.0
    """Of stepping, warm-up included; the least steps and samples are waited for beyond it."""
    patience_seconds: float = math.inf
    """Of stepping: after so long, as few steps as an interval needs must do."""
    race_confidence: float = 0.99
    """Of the interval that must lie below the incumbent's; higher than 0.95 since it is looked at often."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a running trial is, for the display."""

    steps: int
    samples_per_second: float | None


@dataclass(kw_only=True, slots=True)
class PrecisionRule:
    """A ``StopRule`` for one run: call it as often as you like, it works only when there are new steps.

    Args:
        precision: the targets and limits.
        incumbent_low: lower bound of the best merit so far; the run stops once its own interval lies
            entirely below. None where there is no race to lose (the baseline, verification).
        objective: what the study compares runs by.
        gpus: what is sampled beside the run, for its energy.
    """

    precision: Precision = field(default_factory=Precision)
    incumbent_low: float | None = None
    objective: Objective = Objective.THROUGHPUT
    gpus: GpuRecorder | None = None
    progress: Progress = Progress(steps=0, samples_per_second=None)
    _reading: Reading = field(default_factory=Reading)
    _looked_at: int = 0

    def __call__(self, journals: Mapping[int, RankJournal]) -> str | None:
        """Return why the measurement is good enough to stop, or None to go on."""
        came = self._reading.read(journals)
        if not came or self._reading.missing():
            return None
        made = min(len(one.records) for one in self._reading.series.values())
        if made <= self._looked_at * (1 + GROWTH_BETWEEN_LOOKS):
            return None
        self._looked_at = made
        line = self._reading.line()
        return self._judge(line) if line is not None else None

    def _judge(self, line: TimeLine) -> str | None:
        steps = int(line.count.sum())
        shown = self._reading.steady_rate(line)
        self.progress = Progress(steps=steps, samples_per_second=shown.point if shown else None)
        rate = self._reading.steady_merit(line, self.objective, self.gpus)
        wrong = self._reading.wrong_batch() if len(line.count) >= FEWEST_STEPS else None
        if wrong:
            return wrong.reason
        seconds = float(line.seconds.sum())
        if steps >= self.precision.max_steps:
            return f"{steps} steps were made, the most for one run: {self._counted(line)}"
        if seconds >= self.precision.max_seconds and shown and not self._too_little(line):
            return f"it stepped for {seconds:.1f} s, the most for one run: {self._counted(line)}"
        return self._enough(rate, line) if rate else None

    def _enough(self, rate: Rate, line: TimeLine) -> str | None:
        start = self._reading.warmup(line)
        steps, seconds = float(line.count[start:].sum()), float(line.seconds[start:].sum())
        if self.incumbent_low is not None and seconds >= self.objective.terms.least_seconds:
            high = rate.interval(self.precision.race_confidence).high
            if high < self.incumbent_low:
                terms = self.objective.terms
                told = f"at most {figure(high)} against {figure(self.incumbent_low)} {terms.merit_unit}"
                return f"{terms.worse} than the best: {told}"
        if self._too_little(line) or seconds < self.precision.min_seconds:
            return None
        width = rate.relative_half_width()
        if width > self.precision.relative_half_width:
            return None
        return f"the rate is known to {width:.1%} after {steps:.0f} steps"

    def _counted(self, line: TimeLine) -> str:
        """Say what of a run its rate is taken from."""
        start = self._reading.warmup(line)
        steps, seconds = int(line.count[start:].sum()), float(line.seconds[start:].sum())
        return f"{steps} steps in {seconds:.2f} s counted, after warm-up"

    def _too_little(self, line: TimeLine) -> bool:
        """Whether a run must go on whatever the time: too few steps after warm-up, or too few samples."""
        if float(line.seconds.sum()) >= self.precision.patience_seconds:
            return False
        steps = float(line.count[self._reading.warmup(line) :].sum())
        few = steps < max(self.precision.min_steps, FEWEST_STEPS)
        return few or float(line.samples.sum()) < self.precision.min_samples
