"""What people want to know of a rank, from its journal's state."""

import statistics
from collections.abc import Collection
from dataclasses import dataclass

from flyball.collectors.run_state import RankState

SILENT_SECONDS, SILENT_STEPS = 10.0, 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RankFacts:
    """One rank, as its journal says."""

    run: str
    rank: int
    world_size: int
    """0 before the header."""
    data_parallel_size: int
    """Ranks of the run that are fed samples of their own."""
    phase: str
    phase_seconds: float
    """Since the phase began."""
    outcome: str
    """How it ended; empty while it lives."""
    step: int
    silent_seconds: float | None
    """Since the last step; None before the first."""
    step_seconds: float | None
    """Median of the recent steps."""
    steps_per_second: float | None
    samples_per_second: float | None
    """Of this rank, over the recent steps as these all are; evaluation and checkpoints are left out. None of
    them in another phase than stepping, nor once the rank has been silent for long."""
    tokens_per_second: float | None
    loss: float | None
    last_checkpoint_step: int | None


def silence_limit(recent_step_seconds: Collection[float]) -> float:
    """Seconds without a step after which a rank that steps counts as silent."""
    return max(SILENT_SECONDS, SILENT_STEPS * statistics.median(recent_step_seconds))


def rank_facts(state: RankState, *, time: float, monotonic: float) -> RankFacts:
    """Work out a rank's facts.

    Args:
        state: as ``Runs`` gave it out.
        time: now, seconds since the epoch.
        monotonic: now, on the monotonic clock.
    """
    recent = state.recent_step_seconds
    silent = max(0.0, monotonic - state.step_clock) if recent else None
    steps_now = state.phase == "stepping" and silent is not None and silent <= silence_limit(recent)
    fed = state.recent_fed if steps_now else ()
    seconds, steps, samples, tokens = map(sum, zip((0.0, 0, 0, 0), *fed, strict=True))
    since = monotonic - state.phase_clock if state.finished_time is None else time - state.finished_time
    return RankFacts(
        run=state.run,
        rank=state.rank,
        world_size=state.world_size,
        data_parallel_size=state.data_parallel_size or state.world_size,
        phase=state.phase,
        phase_seconds=max(0.0, since),
        outcome=state.outcome if state.finished_time is not None else "",
        step=state.step,
        silent_seconds=silent,
        step_seconds=statistics.median(recent) if recent else None,
        steps_per_second=steps / seconds if seconds > 0 else None,
        # A stage in the middle of a pipeline is fed nothing that could be counted.
        samples_per_second=samples / seconds if seconds > 0 and samples else None,
        tokens_per_second=tokens / seconds if seconds > 0 and tokens else None,
        loss=state.loss,
        last_checkpoint_step=state.last_checkpoint_step,
    )
