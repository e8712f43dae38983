"""Weighs the probe's own cost against the step time."""

from __future__ import annotations

GRACE_STEPS = 50
WINDOW_STEPS = 50
CHECK_EVERY = 25


class Budget:
    """Judges the median of the last steps, so that one slow write or a long garbage collection decides
    nothing.
    """

    __slots__ = ("limit_ratio", "ratios", "steps")

    def __init__(self, limit_ratio: float) -> None:
        self.limit_ratio = limit_ratio
        self.ratios: list[float] = []
        self.steps = 0

    def add(self, cost_seconds: float, step_seconds: float) -> float | None:
        """Account one step; return the median ratio once it has passed the limit, else None."""
        self.steps += 1
        if self.steps <= GRACE_STEPS:
            return None
        ratio = cost_seconds / step_seconds if step_seconds > 0 else 0.0
        if len(self.ratios) < WINDOW_STEPS:
            self.ratios.append(ratio)
        else:
            self.ratios[self.steps % WINDOW_STEPS] = ratio
        if len(self.ratios) < WINDOW_STEPS or self.steps % CHECK_EVERY:
            return None
        median = sorted(self.ratios)[WINDOW_STEPS // 2]
        return median if median > self.limit_ratio else None
