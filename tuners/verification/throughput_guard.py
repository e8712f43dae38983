"""What saving energy may cost in speed: the throughput of a configuration beside the user's own."""

import math
from collections.abc import Sequence

from flyball.tuners.base import Interval, Measurement
from flyball.tuners.verification.statistics import ratio_interval


def throughput_ratio(own: Sequence[Measurement], new: Sequence[Measurement]) -> Interval | None:
    """Return a configuration's samples a second over the user's own, run beside run; None without runs.

    Args:
        own: the user's runs, in the order in which they were made.
        new: the configuration's, likewise.
    """
    logs = [
        math.log(after.samples_per_second.point / before.samples_per_second.point)
        for before, after in zip(own, new, strict=False)
    ]
    return ratio_interval(logs) if logs else None


def shortfall(own: Sequence[Measurement], new: Sequence[Measurement], least_ratio: float | None) -> float:
    """Return by which share a configuration trains slower than it may; 0 where it trains fast enough.

    Args:
        own: the user's runs.
        new: the configuration's.
        least_ratio: of the user's throughput, that it must reach; None is no limit.
    """
    ratio = throughput_ratio(own, new)
    if least_ratio is None or ratio is None:
        return 0.0
    return max(0.0, least_ratio / ratio.point - 1)


def too_slow(own: Sequence[Measurement], new: Sequence[Measurement], least_ratio: float | None) -> str | None:
    """Return why a configuration must not be recommended for its throughput, or None; see ``shortfall``."""
    ratio = throughput_ratio(own, new)
    if least_ratio is None or ratio is None or not shortfall(own, new, least_ratio):
        return None
    return f"it trains at {ratio.point:.2f} of your own throughput, less than the limit of {least_ratio:.2f}"
