"""What transformers' models let the probe change in them."""

from flyball.tuners.base import Value
from flyball.tuners.knobs.engine import on_cuda
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of

IMPLEMENTATIONS = ("eager", "sdpa", "flash_attention_2")


def write_attention(draft: Draft, value: Value) -> None:
    """Ask the probe to switch the model's attention."""
    draft.probe["attention"] = value


def _pointless(situation: Situation) -> str | None:
    if situation.context.attention is None:
        return "the model has no switch for it (transformers' models do), or has not run yet"
    return None


def _absent(situation: Situation, value: Value) -> str | None:
    if value in situation.context.attentions:
        return None
    return f"the model does not support {value} here, or it is not installed"


KNOBS: tuple[Knob, ...] = (
    Knob(
        name="attention",
        applied=Applied.PROBE,
        path="attention",
        summary="how a transformers model computes attention",
        reason="a fused kernel never writes the matrix of scores to memory",
        read=lambda situation: situation.context.attention,
        values=lambda situation: situation.context.attentions,
        apply=write_attention,
        accepts=one_of(*IMPLEMENTATIONS),
        refused=_absent,
        pointless=_pointless,
        by_default=on_cuda,
        # An implementation may lack what a model's attention has, such as soft caps or sinks.
        changes_numerics=True,
        structural=True,
        ordered=False,
        weight=2.0,
        witness="attention layers that say they use it, counted by the probe",
    ),
)
