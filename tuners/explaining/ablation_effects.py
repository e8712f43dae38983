"""What each changed knob brings, from rounds of runs: the recommended, and it with one knob put back."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from flyball.tuners.base import Interval
from flyball.tuners.explaining.explanation import EffectKind
from flyball.tuners.measurement.interval import CONFIDENCE, t_quantile

REFERENCE = "recommended"
"""The key of the recommended configuration in a round."""
LEAST_NOTICED = 0.02
"""A loss that is certainly smaller than this, or than twice the least gain worth a change, is none."""


def ratios(rounds: Sequence[Mapping[str, float]]) -> dict[str, Interval]:
    """Return for each knob the recommended's rate over the rate without the knob, with its 95% interval.

    Speed is taken as a product of what ran, of what the round disturbed and of chance, alike in all; so all
    runs together say how large chance is (two-way analysis of variance on the logarithms), and few rounds
    are enough. Each interval holds by itself, not all of them at once.

    Args:
        rounds: key to samples a second; ``REFERENCE`` is the recommended, and all have the same keys.
    """
    if not rounds:
        return {}
    keys = list(rounds[0])
    logs = np.log([[each[key] for key in keys] for each in rounds])
    means = dict(zip(keys, logs.mean(axis=0).tolist(), strict=True))
    freedom = (len(rounds) - 1) * (len(keys) - 1)
    if freedom < 1:
        return {
            key: Interval(point=math.exp(means[REFERENCE] - means[key]), low=0.0, high=math.inf)
            for key in keys
            if key != REFERENCE
        }
    left = logs - logs.mean(axis=0) - logs.mean(axis=1, keepdims=True) + logs.mean()
    error = math.sqrt(float((left**2).sum()) / freedom * 2 / len(rounds))
    reach = min(t_quantile(CONFIDENCE, freedom) * error, 50.0)
    return {
        key: Interval(point=math.exp(gain), low=math.exp(gain - reach), high=math.exp(gain + reach))
        for key, gain in ((key, means[REFERENCE] - means[key]) for key in keys if key != REFERENCE)
    }


def kind_of(ratio: Interval, *, minimum_gain: float) -> EffectKind:
    """Return what a ratio says.

    Args:
        ratio: the recommended's rate over the rate without the knob.
        minimum_gain: least gain worth a change, as verification has it; 0.01 is one percent.
    """
    if ratio.low > 1:
        return EffectKind.FASTER
    if ratio.high < 1:
        return EffectKind.SLOWER
    if ratio.high <= 1 + max(LEAST_NOTICED, 2 * minimum_gain):
        return EffectKind.NOTHING_MEASURABLE
    return EffectKind.UNCLEAR
