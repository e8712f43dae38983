"""Where a run's steady state begins: compiling, allocating and growing caches are not its speed."""

from collections.abc import Iterable

import numpy as np

from flyball.collectors.journal import Record
from flyball.tuners.measurement.series import Array, number

ALWAYS_DROPPED_STEPS = 2
"""The first step compiles, allocates and connects; what it leaves undone, the second does."""
LARGEST_DROPPED_SHARE = 0.5
"""What goes on changing over more than half of a run is not warm-up, it is how the run is."""


def compile_passes(witnesses: Iterable[Record]) -> list[float]:
    """Return the clock at which a knob was seen to set in: a compiler's new graphs, compression that begins.

    Only what changes between two records of a knob counts: the same report again is no new pass.
    """
    clocks = []
    seen: dict[str, tuple[object, ...]] = {}
    for record in witnesses:
        value = record.get("value")
        if not isinstance(value, dict):
            continue
        state = (value.get("graphs"), value.get("compressing"))
        knob = str(record.get("knob"))
        if any(state) and seen.get(knob) != state:
            clocks.append(number(record.get("clock")))
        seen[knob] = state
    return clocks


def smooth(values: Array) -> Array:
    """Return the running median of three, looking ahead: one slow step alone is noise, two are a trend."""
    if len(values) < 3:
        return values
    low, high = np.minimum(values[:-2], values[1:-1]), np.maximum(values[:-2], values[1:-1])
    # The middle of three; np.median over windows takes ten times as long, at every look at a run.
    return np.concatenate((np.maximum(low, np.minimum(high, values[2:])), values[-2:]))


def mser(values: Array) -> int:
    """Return how many leading values to drop so that the standard error of the rest's mean is least.

    White's marginal standard error rule (K. P. White Jr., "An effective truncation heuristic for bias
    reduction in simulation output", Simulation 69, 1997), over at most ``LARGEST_DROPPED_SHARE`` of them.
    """
    total = len(values)
    if total < 4:
        return 0
    left = total - np.arange(int(total * LARGEST_DROPPED_SHARE) + 1)
    sums = np.cumsum(values[::-1])[::-1][: len(left)]
    squares = np.cumsum(values[::-1] ** 2)[::-1][: len(left)]
    spread = np.maximum(0.0, squares / left - (sums / left) ** 2) / left
    return int(np.argmin(spread))


def warmup(seconds: Array, clock: Array, skipped: Array, passes: Iterable[float]) -> int:
    """Return how many leading steps belong to warm-up.

    Always the first steps; then those before the last compile pass and the leading ones that the optimizer
    skipped, as far as they lie in the first half; then as long as the step time trends.

    Args:
        seconds: a step each, of one rank.
        clock: monotonic clock at the end of each step.
        skipped: boundaries in each step that the optimizer skipped.
        passes: clocks of compile passes.
    """
    total = len(seconds)
    dropped = min(ALWAYS_DROPPED_STEPS, max(1, total // 4), total)
    half = max(dropped, int(total * LARGEST_DROPPED_SHARE))
    for moment in passes:
        # A witness is written at the boundary that follows what it saw: that step is the last one touched.
        dropped = max(dropped, min(half, int(np.searchsorted(clock, moment, side="left")) + 1))
    leading = int(np.argmin(np.append(skipped > 0, [False])))
    dropped = max(dropped, min(half, leading))
    trend = mser(smooth(seconds[dropped:]))
    # The median looks one step ahead, so a trend seems to end one step before it does.
    return dropped + min(trend + (trend > 0), max(0, half - dropped))
