"""The ZeRO stage and what tunes it: bucket sizes, overlap, prefetch."""

from collections.abc import Callable, Mapping
from typing import Any

from flyball.tuners.base import Assignment, Value
from flyball.tuners.config.reading import known
from flyball.tuners.config.shape import (
    BUCKET_ELEMENTS,
    MAX_STAGE,
    PERSISTENCE_ELEMENTS,
    PREFETCH_ELEMENTS,
    overlap_of,
    stage_of,
)
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of, whole_numbers
from flyball.tuners.legality.context import pipelined, replicas_of

BUCKETS = (5_000_000, 20_000_000, 50_000_000, 200_000_000, 500_000_000, 1_000_000_000)
SECTION = "zero_optimization"


def stages(situation: Situation) -> tuple[int, ...]:
    """Return the stages that the job can have: a pipeline's stop at 1."""
    return (0, 1) if pipelined(situation.config, situation.context) else (0, 1, 2, 3)


def write_stage(draft: Draft, value: Value) -> None:
    """Write the stage; the old form ``"zero_optimization": true`` becomes a section."""
    draft.write(f"{SECTION}.stage", value)


def bucket_sizes(situation: Situation) -> tuple[int, ...]:
    """Return bucket sizes in elements: those below the model's size, which alone differ from one bucket."""
    parameters = situation.context.parameters
    if parameters is None:
        return BUCKETS
    fixed = [size for size in BUCKETS if size < parameters]
    return (
        tuple(fixed) if len(fixed) > 1 else tuple(sorted({rounded(parameters / 16), rounded(parameters / 4)}))
    )


def prefetch_sizes(situation: Situation) -> tuple[int, ...]:
    """Return prefetch sizes in elements: none, and by the model's size where it is known."""
    parameters = situation.context.parameters
    if parameters is None:
        return (0, 10_000_000, 50_000_000, 200_000_000)
    return tuple(sorted({0, rounded(parameters / 16), min(PREFETCH_ELEMENTS, rounded(parameters / 2))}))


def persistence_sizes(situation: Situation) -> tuple[int, ...]:
    """Return thresholds in elements: below one, a parameter stays whole on every rank."""
    largest = situation.context.largest_parameter
    sizes = (10_000, 100_000, 1_000_000, 10_000_000)
    return sizes if largest is None else tuple(size for size in sizes if size <= 10 * largest)


def rounded(elements: float) -> int:
    """Return ``elements`` to two significant digits, at least 1000."""
    return max(1000, int(float(f"{elements:.1e}")))


def _replicated(situation: Situation) -> str | None:
    if replicas_of(situation.config, situation.context) > 1:
        return None
    return "one replica has nothing to communicate"


def _overlap_pointless(situation: Situation) -> str | None:
    if pipelined(situation.config, situation.context):
        return "a pipeline switches overlap off"
    return _replicated(situation)


def at_stages(*wanted: int) -> Callable[[Assignment], bool]:
    """Whether the chosen stage is among ``wanted``."""
    return lambda assignment: assignment.get("zero_stage") in wanted


def element(name: str, default: int) -> Callable[[Situation], int]:
    """Return the reader of a size in elements, which people also write as 5e8."""
    return lambda situation: int(known(situation.config, f"{SECTION}.{name}", default))


def switch(name: str, default: bool) -> Callable[[Situation], bool]:
    """Return the reader of a true or false."""
    return lambda situation: bool(known(situation.config, f"{SECTION}.{name}", default))


def writer(name: str) -> Callable[[Draft, Value], None]:
    """Return what writes a key of the ZeRO section."""
    return lambda draft, value: draft.write(f"{SECTION}.{name}", value)


def _size(name: str, default: int, **rest: Any) -> Knob:
    declared: Mapping[str, Any] = {"values": bucket_sizes, "pointless": _replicated, **rest}
    return Knob(
        name=name,
        applied=Applied.CONFIG,
        path=f"{SECTION}.{name}",
        read=element(name, default),
        apply=writer(name),
        accepts=whole_numbers(0 if name.startswith("stage3") else 1),
        witness="the config in the journal's header",
        **declared,
    )


def _switch(name: str, default: bool, **rest: Any) -> Knob:
    declared: Mapping[str, Any] = {"read": switch(name, default), "pointless": _replicated, **rest}
    return Knob(
        name=name,
        applied=Applied.CONFIG,
        path=f"{SECTION}.{name}",
        values=lambda situation: (False, True),
        apply=writer(name),
        accepts=one_of(False, True),
        ordered=False,
        witness="the config in the journal's header",
        **declared,
    )


KNOBS: tuple[Knob, ...] = (
    Knob(
        name="zero_stage",
        applied=Applied.CONFIG,
        path=f"{SECTION}.stage",
        summary="what ZeRO partitions: nothing (0), optimizer states (1), gradients (2), parameters (3)",
        reason="a lower stage communicates less, a higher one frees memory for larger micro batches",
        read=lambda situation: stage_of(situation.config),
        values=stages,
        apply=write_stage,
        accepts=whole_numbers(0, MAX_STAGE),
        pointless=_replicated,
        changes_checkpoint=True,
        structural=True,
        weight=3.0,
        promising=min,
        witness="zero_stage in the journal's header",
    ),
    _switch(
        "overlap_comm",
        False,
        read=lambda situation: overlap_of(situation.config),
        pointless=_overlap_pointless,
        summary="reduce gradients while the backward pass still runs",
        reason="overlap hides communication behind computation, at the price of copies",
        active=at_stages(1, 2, 3),
        depends_on=("zero_stage",),
    ),
    _size(
        "reduce_bucket_size",
        BUCKET_ELEMENTS,
        summary="gradient elements reduced at a time",
        reason="size of messages: larger ones are fewer, smaller ones start earlier and need less memory",
        active=at_stages(1, 2, 3),
        depends_on=("zero_stage",),
    ),
    _size(
        "allgather_bucket_size",
        BUCKET_ELEMENTS,
        summary="parameter elements gathered at a time after the step",
        reason="size of messages: larger ones are fewer, smaller ones need less memory",
        active=at_stages(1, 2),
        depends_on=("zero_stage",),
    ),
    _switch(
        "reduce_scatter",
        True,
        summary="send each gradient only to the rank that owns it",
        reason="fewer bytes than an all-reduce, at the price of more messages",
        active=at_stages(1, 2),
        depends_on=("zero_stage",),
    ),
    _switch(
        "contiguous_gradients",
        True,
        summary="copy gradients into one buffer as they come",
        reason="the buffer avoids fragmentation; without it a copy is saved",
        active=at_stages(2),
        depends_on=("zero_stage",),
    ),
    _size(
        "stage3_prefetch_bucket_size",
        PREFETCH_ELEMENTS,
        values=prefetch_sizes,
        summary="parameter elements fetched ahead of their use",
        reason="fetching ahead hides the gathering of parameters",
        active=at_stages(3),
        depends_on=("zero_stage",),
    ),
    _size(
        "stage3_param_persistence_threshold",
        PERSISTENCE_ELEMENTS,
        values=persistence_sizes,
        summary="parameters smaller than this stay whole on every rank",
        reason="small parameters kept whole save many small messages",
        active=at_stages(3),
        depends_on=("zero_stage",),
    ),
)
