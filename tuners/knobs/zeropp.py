"""ZeRO++ (Wang et al., arXiv 2306.10209): fewer bytes between hosts at stage 3."""

from collections.abc import Callable
from typing import Any

from flyball.tuners.config.reading import known
from flyball.tuners.knobs.knob import Applied, Knob, Situation, one_of, whole_numbers
from flyball.tuners.knobs.zero import SECTION, at_stages, switch, writer
from flyball.tuners.legality.context import pipelined, replicas_of

HIERARCHICAL = "zero_hpz_partition_size"


def _pointless(situation: Situation) -> str | None:
    if situation.context.device != "cuda":
        return "ZeRO++ is not implemented on CPU"
    if pipelined(situation.config, situation.context):
        return "a pipeline has no stage 3"
    if replicas_of(situation.config, situation.context) < 2:
        return "one replica has nothing to communicate"
    return None


def _gradients_pointless(situation: Situation) -> str | None:
    if situation.context.hosts == 1:
        return "DeepSpeed falls back to dense gradients on one host, without a word"
    return _pointless(situation)


def _spans_hosts(situation: Situation) -> bool:
    return (situation.context.hosts or 1) > 1


def partitions(situation: Situation) -> tuple[int, ...]:
    """Return no secondary partition, and one over the ranks of a host."""
    return tuple(sorted({1, max(1, situation.context.world_size // (situation.context.hosts or 1))}))


def partition(situation: Situation) -> int:
    """Return the ranks that hold a whole copy of the parameters; 1 is none."""
    size: Any = known(situation.config, f"{SECTION}.{HIERARCHICAL}", 1)
    return size if isinstance(size, int) else 1


def _quantized(name: str, pointless: Callable[[Situation], str | None], **rest: Any) -> Knob:
    return Knob(
        name=name,
        applied=Applied.CONFIG,
        path=f"{SECTION}.{name}",
        read=switch(name, False),
        values=lambda situation: (False, True),
        apply=writer(name),
        accepts=one_of(False, True),
        pointless=pointless,
        by_default=_spans_hosts,
        active=at_stages(3),
        depends_on=("zero_stage",),
        changes_numerics=True,
        structural=True,
        ordered=False,
        **rest,
    )


KNOBS: tuple[Knob, ...] = (
    _quantized(
        "zero_quantized_weights",
        _pointless,
        summary="gather parameters in 8 bits (ZeRO++, qwZ)",
        reason="half the bytes of 16 bits each time that parameters are gathered",
        witness="the engine's own flag, in the journal's header",
    ),
    _quantized(
        "zero_quantized_gradients",
        _gradients_pointless,
        summary="reduce gradients in 4 bits by all-to-alls (ZeRO++, qgZ)",
        reason="a quarter of the bytes of 16 bits between hosts",
        witness="the engine's own flag, and bytes of all-to-alls at the collective",
    ),
    Knob(
        name=HIERARCHICAL,
        applied=Applied.CONFIG,
        path=f"{SECTION}.{HIERARCHICAL}",
        summary="ranks that together keep a second whole copy of the parameters (ZeRO++, hpZ); 1 is none",
        reason="the backward pass gathers within a host, at the price of that copy's memory",
        read=partition,
        values=partitions,
        apply=writer(HIERARCHICAL),
        accepts=whole_numbers(1),
        pointless=_pointless,
        by_default=_spans_hosts,
        active=at_stages(3),
        depends_on=("zero_stage",),
        structural=True,
        witness="the engine's own size, in the journal's header",
    ),
)
