"""A rank's state as JSON: what a restart of the agent goes on from."""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from flyball.collectors import catalog
from flyball.collectors.latencies import restored
from flyball.collectors.record_fields import WrongField, memory_of
from flyball.collectors.run_origin import read_origin
from flyball.collectors.run_progress import read_progress
from flyball.collectors.run_state import RECENT_STEPS, RankState


def document_of(state: RankState) -> dict[str, Any]:
    """Return it as JSON, for a restart of the agent."""
    return {
        **{name: getattr(state, name) for name in _PLAIN},
        "memory": dict(state.memory) if state.memory is not None else None,
        "peaks": state.peaks,
        "promised": state.promised,
        "free": state.free,
        "step_seconds": state.step_seconds.document(),
        "recent_step_seconds": list(state.recent_step_seconds),
        "recent_fed": list(state.recent_fed),
        "communication": state.communication.document(),
        "progress": state.progress.document(),
        "origin": state.origin.document() if state.origin is not None else None,
        "pauses": state.pauses,
        "pending": state.pending,
    }


def restore(state: RankState, document: Mapping[str, Any]) -> None:
    """Go on from :func:`document_of`. Raises KeyError, TypeError or ValueError for anything else."""
    for name, kinds in _PLAIN.items():
        if not isinstance(document[name], kinds):
            raise WrongField(name)
        setattr(state, name, document[name])
    memory = document["memory"]
    state.memory = None if memory is None else memory_of(document)
    state.peaks, state.free = _floats(document["peaks"]), _floats(document["free"])
    state.promised = _floats(document["promised"])
    state.step_seconds = restored(catalog.STEP_SECONDS, document["step_seconds"])
    state.recent_step_seconds = deque(map(float, document["recent_step_seconds"]), maxlen=RECENT_STEPS)
    fed = (
        (float(seconds), int(steps), int(samples), int(tokens))
        for seconds, steps, samples, tokens in document["recent_fed"]
    )
    state.recent_fed = deque(fed, maxlen=RECENT_STEPS)
    state.communication.restore(document["communication"])
    state.progress = read_progress(document["progress"])
    origin = document["origin"]
    state.origin = None if origin is None else read_origin(origin)
    state.pauses = [(int(engine), str(phase)) for engine, phase in document["pauses"]]
    state.pending = {str(op): (float(age), float(said)) for op, (age, said) in document["pending"].items()}


_NUMBER = (int, float)
_PLAIN: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("purpose", "pid_namespace", "host", "device", "phase", "outcome", "probe_off"), str),
    **dict.fromkeys(
        ("pid", "world_size", "data_parallel_size", "step", "samples", "tokens", "skipped", "torn_lines"), int
    ),
    "failed_allocations": int,
    **dict.fromkeys(("started", "phase_clock", "step_clock", "last_time", "last_clock"), _NUMBER),
    **dict.fromkeys(("loss", "grad_norm", "loss_scale", "finished_time"), (*_NUMBER, type(None))),
    **dict.fromkeys(
        ("last_checkpoint_step", "newer_schema", "engine", "queue_length", "running_requests"),
        (int, type(None)),
    ),
    **dict.fromkeys(("gpu_uuid", "checkpoint_folder"), (str, type(None))),
}
"""Attributes that are JSON by themselves, and their types."""


def _floats(pair: Any) -> tuple[float, float] | None:
    if pair is None:
        return None
    one, other = pair
    return float(one), float(other)
