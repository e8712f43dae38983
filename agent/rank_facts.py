"""What people want to know of a rank, from its journal's state."""

import statistics
from dataclasses import dataclass

from flyball.collectors.run_state import RankState


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
    """Of this rank, over the recent steps as these all are; evaluation and checkpoints are left out."""
    tokens_per_second: float | None
    loss: float | None
    last_checkpoint_step: int | None


def rank_facts(state: RankState, *, time: float, monotonic: float) -> RankFacts:
    """Work out a rank's facts.

    Args:
        state: as ``Runs`` gave it out.
        time: now, seconds since the epoch.
        monotonic: now, on the monotonic clock.
    """
    seconds, steps, samples, tokens = map(sum, zip((0.0, 0, 0, 0), *state.recent_fed, strict=True))
    since = monotonic - state.phase_clock if state.finished_time is None else time - state.finished_time
    recent = state.recent_step_seconds
    return RankFacts(
        run=state.run,
        rank=state.rank,
        world_size=state.world_size,
        data_parallel_size=state.data_parallel_size or state.world_size,
        phase=state.phase,
        phase_seconds=max(0.0, since),
        outcome=state.outcome if state.finished_time is not None else "",
        step=state.step,
        silent_seconds=max(0.0, monotonic - state.step_clock) if recent else None,
        step_seconds=statistics.median(recent) if recent else None,
        steps_per_second=steps / seconds if seconds > 0 else None,
        # A stage in the middle of a pipeline is fed nothing that could be counted.
        samples_per_second=samples / seconds if seconds > 0 and samples else None,
        tokens_per_second=tokens / seconds if seconds > 0 and tokens else None,
        loss=state.loss,
        last_checkpoint_step=state.last_checkpoint_step,
    )
