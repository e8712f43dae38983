"""What a verification has seen so far: pairs of runs, who was dropped, who has passed."""

import itertools
import math
from dataclasses import dataclass, field

from flyball.tuners.base import Interval, Measurement
from flyball.tuners.measurement.interval import CONFIDENCE
from flyball.tuners.verification.group_sequential_interval import Stopped, stopped_interval
from flyball.tuners.verification.plan import Rules
from flyball.tuners.verification.statistics import log_ratio, noise_floor, ratio_interval, signed_rank_p_value

BASELINE = "baseline"
BASELINE_AGAIN = "baseline again"
"""The second baseline run of an A/A round; the same configuration under a key of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One candidate against the baseline in one round, by what their study compares; more is better."""

    round: int
    baseline: float
    candidate: float

    @property
    def log_ratio(self) -> float:
        """Return log(candidate / baseline)."""
        return log_ratio(self.candidate, self.baseline)


@dataclass(frozen=True, kw_only=True, slots=True)
class CandidateResult:
    """All that verification knows of one candidate."""

    key: str
    pairs: tuple[Pair, ...]
    speedup: Interval | None
    """Simultaneous over the candidates, so that picking the best does not spoil it."""
    p_value: float
    passed: bool
    dropped: str | None
    """Why it was taken out before the end."""


@dataclass(kw_only=True, slots=True)
class Tally:
    """What has been seen so far; the only thing that changes while verification runs."""

    keys: tuple[str, ...]
    rules: Rules
    better: str = "faster"
    """What a winner is, in words."""
    baseline: list[Measurement] = field(default_factory=list)
    runs_of: dict[str, list[Measurement]] = field(default_factory=dict)
    pairs: dict[str, list[Pair]] = field(default_factory=dict)
    aa_pairs: list[Pair] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)
    passed: set[str] = field(default_factory=set)
    runs: int = 0

    @property
    def active(self) -> list[str]:
        """Candidates still in, the fastest so far first."""
        inside = [key for key in self.keys if key not in self.dropped]
        return sorted(inside, key=lambda key: -self.mean(key))

    def ratios(self, key: str) -> list[float]:
        """Log ratios of one candidate, a round each."""
        return [pair.log_ratio for pair in self.pairs.get(key, [])]

    def mean(self, key: str) -> float:
        """Mean log ratio, 0 before the first pair."""
        ratios = self.ratios(key)
        return sum(ratios) / len(ratios) if ratios else 0.0

    def p_value(self, key: str) -> float:
        """One-sided p-value; 1 for what was dropped, which keeps Holm's count as declared."""
        return 1.0 if key in self.dropped else signed_rank_p_value(self.ratios(key))

    def speedup(self, key: str) -> Interval | None:
        """Gain of one candidate with its simultaneous interval."""
        ratios = self.ratios(key)
        return ratio_interval(ratios, 1 - (1 - CONFIDENCE) / len(self.keys)) if ratios else None

    def gain_when_stopped(self, key: str, stopped: Stopped) -> Interval:
        """Gain of a candidate that passed, with an interval that knows why its pairs ended there."""
        return stopped_interval(
            self.ratios(key),
            stopped,
            least_error=math.log1p(self.noise_floor() or 0.0),
            confidence=1 - (1 - CONFIDENCE) / len(self.keys),
        )

    def noise_floor(self) -> float | None:
        """From the A/A pairs and from the baseline's own successive runs; None where there are neither."""
        rates = [run.merit.point for run in self.baseline]
        successive = [log_ratio(after, before) for before, after in itertools.pairwise(rates)]
        return noise_floor([*(pair.log_ratio for pair in self.aa_pairs), *successive], len(rates))

    def minimum_gain(self) -> float:
        """Least gain worth a change."""
        return max(self.rules.least_gain, self.noise_floor() or 0.0)

    def worth_it(self, key: str) -> bool:
        """Whether a candidate's mean gain is large enough."""
        return self.mean(key) >= math.log1p(self.minimum_gain())

    def pair(self, key: str, number: int, baseline: Measurement, run: Measurement) -> None:
        """Take in one run beside the baseline's of the same round."""
        pair = Pair(
            round=number,
            baseline=baseline.merit.point,
            candidate=run.merit.point,
        )
        if key == BASELINE_AGAIN:
            self.aa_pairs.append(pair)
        else:
            self.pairs.setdefault(key, []).append(pair)
            self.runs_of.setdefault(key, []).append(run)

    def result(self, key: str) -> CandidateResult:
        """Return all that is known of one candidate."""
        return CandidateResult(
            key=key,
            pairs=tuple(self.pairs.get(key, [])),
            speedup=self.speedup(key),
            p_value=signed_rank_p_value(self.ratios(key)),
            passed=key in self.passed,
            dropped=self.dropped.get(key),
        )
