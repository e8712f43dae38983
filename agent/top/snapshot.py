"""What is known of a machine at one moment, before it is put into a view."""

from dataclasses import dataclass

from flyball.agent.rank_facts import RankFacts
from flyball.collectors.base import Sample, Unavailable

RUNS, EVERYTHING = "runs", "everything"
"""Names of what a source may give nothing of, besides those of the collectors."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """Everything that was read for one view."""

    host: str
    time: float
    """Seconds since the epoch."""
    monotonic: float
    """Seconds on the monotonic clock."""
    driver: str
    """Version of the NVIDIA driver; empty where there is none."""
    samples: tuple[Sample, ...]
    """Of all collectors, what is not available included."""
    ranks: tuple[RankFacts, ...]
    silent: tuple[tuple[str, Unavailable], ...]
    """What nothing or not all is known of, and why: a collector, ``RUNS``, ``EVERYTHING``, other words."""
