"""Does a change of numerics cost loss? One-sided non-inferiority at equal samples seen."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from flyball.tuners.base import Measurement
from flyball.tuners.verification.statistics import upper_mean

MARGIN_RATIO = 0.01
COMPARED_SHARE = 0.25
"""Losses are compared over the last quarter of the samples that both have seen."""
FEWEST_POINTS = 4
"""Losses of each run inside the compared part."""
LEAST_KNOWN_SHARE = 0.1
"""A job that tells of fewer losses is not judged: its runs would become too long."""
LOSS_SLACK = 2.0
FEWEST_PAIRS = 3
"""Pairs of runs that a bound needs."""


class Guard(StrEnum):
    """What the loss guard says."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, kw_only=True, slots=True)
class LossVerdict:
    """The comparison, with what it rests on. Only ``passed`` lets a change of numerics be recommended."""

    guard: Guard
    reason: str
    samples: float = 0.0
    """Samples seen by all replicas up to which the runs were compared."""
    compared_from: float = 0.0
    """Samples seen at the start of the compared part."""
    pairs: int = 0
    baseline_loss: float | None = None
    candidate_loss: float | None = None
    excess_bound: float | None = None
    """Upper 95% bound of (candidate - baseline) / |baseline|; 0.004 is 0.4%."""
    excess_least: float | None = None
    """Lower 95% bound of the same."""
    margin_ratio: float = MARGIN_RATIO

    @property
    def costs_loss(self) -> bool:
        """Whether the candidate's loss is higher by more than the margin for certain."""
        return self.excess_least is not None and self.excess_least > self.margin_ratio


def compare_losses(
    baseline: Sequence[Measurement],
    candidate: Sequence[Measurement],
    *,
    margin_ratio: float = MARGIN_RATIO,
) -> LossVerdict:
    """Hold a candidate's losses against the baseline's, run by run in pairs, at equal samples seen.

    Each pair's runs are averaged over the same stretch of samples (the end of what all runs have seen); the
    candidate passes when the one-sided 95% bound of the mean difference lies within the margin.

    Args:
        baseline: verification runs of the baseline.
        candidate: those of the candidate, in the same order of rounds; the shorter list gives the pairs.
        margin_ratio: of the baseline's loss.
    """
    pairs = list(zip(baseline, candidate, strict=False))
    if len(pairs) < FEWEST_PAIRS:
        reason = f"{len(pairs)} pairs of runs are too few to judge the loss, {FEWEST_PAIRS} are needed"
        return LossVerdict(guard=Guard.NOT_JUDGED, reason=reason, margin_ratio=margin_ratio, pairs=len(pairs))
    samples = min((run.losses[-1][0] if run.losses else 0.0) for pair in pairs for run in pair)
    start = samples * (1 - COMPARED_SHARE)
    means = [(_mean_loss(one, start, samples), _mean_loss(other, start, samples)) for one, other in pairs]
    known = [(one, other) for one, other in means if one is not None and other is not None]
    if len(known) < len(pairs):
        reason = f"fewer than {FEWEST_POINTS} losses are known in the last quarter of {samples:,.0f} samples"
        return LossVerdict(
            guard=Guard.NOT_JUDGED,
            reason=reason,
            samples=samples,
            compared_from=start,
            pairs=len(pairs),
            margin_ratio=margin_ratio,
        )
    return _judge(known, samples, start, margin_ratio)


def _mean_loss(run: Measurement, start: float, end: float) -> float | None:
    inside = [loss for samples, loss in run.losses if start < samples <= end]
    return float(np.mean(inside)) if len(inside) >= FEWEST_POINTS else None


def _judge(
    known: Sequence[tuple[float, float]], samples: float, start: float, margin_ratio: float
) -> LossVerdict:
    baseline = float(np.mean([one for one, _ in known]))
    candidate = float(np.mean([other for _, other in known]))
    scale = abs(baseline) or math.ulp(1.0)
    excess = [other - one for one, other in known]
    bound, least = upper_mean(excess) / scale, -upper_mean([-each for each in excess]) / scale
    passed = bound <= margin_ratio
    side = "within" if passed else "not within"
    reason = (
        f"loss {candidate:.4g} against {baseline:.4g} at {samples:,.0f} samples, at most {bound:+.2%}, "
        f"{side} the margin of {margin_ratio:.0%}"
    )
    return LossVerdict(
        guard=Guard.PASSED if passed else Guard.FAILED,
        reason=reason,
        samples=samples,
        compared_from=start,
        pairs=len(known),
        baseline_loss=baseline,
        candidate_loss=candidate,
        excess_bound=bound,
        excess_least=least,
        margin_ratio=margin_ratio,
    )


def samples_to_judge(global_batch: float, *, known_share: float = 1.0) -> float:
    """Return the samples that a run must see so that the guard has enough losses, at a global batch size.

    Args:
        global_batch: samples a step.
        known_share: of steps whose loss is known: short steps follow each other faster than it is read.
    """
    share = min(1.0, max(LEAST_KNOWN_SHARE, known_share))
    # A run may know a few less than those before it did; where every loss is known, none is missing.
    slack = 1.0 if share == 1.0 else LOSS_SLACK
    return slack * global_batch * FEWEST_POINTS / COMPARED_SHARE / share


def known_loss_share(runs: Iterable[Measurement]) -> float:
    """Return the share of steps whose loss is known, of the run where it is least; 1 without a run."""
    shares = (len(run.losses) / max(1, run.steps + run.warmup_steps) for run in runs)
    return min((1.0, *shares))
