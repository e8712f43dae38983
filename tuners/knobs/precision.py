"""The number format that the model computes in: DeepSpeed's own mixed precision."""

from flyball.tuners.base import Value
from flyball.tuners.config.reading import read
from flyball.tuners.config.shape import is_on, precision, precision_is_open
from flyball.tuners.knobs.knob import Applied, Draft, Knob, Situation, one_of

NAME = "precision"
FORMATS = ("fp32", "bf16", "fp16")
SECTIONS = {"bf16": ("bf16", "bfloat16"), "fp16": ("fp16",)}
"""Format to the sections that can switch it on; a config uses one of them."""


def own_format(situation: Situation) -> str:
    """Return the format that the config means."""
    return precision(situation.config)


def formats(situation: Situation) -> tuple[str, ...]:
    """Return the formats worth trying: bf16 beside fp32 and beside fp16.

    bf16 has the range of fp32 and needs no loss scale; from bf16 to fp16 nothing is to be won.
    """
    own = precision(situation.config)
    return (own,) if own == "bf16" else (own, "bf16")


def write_format(draft: Draft, value: Value) -> None:
    """Switch one format on and the others off; a section that is not there stays away."""
    for name, sections in SECTIONS.items():
        there = [section for section in sections if read(draft.config, section) is not None]
        for section in there:
            draft.write(f"{section}.enabled", False)
        if name == value:
            draft.write(f"{(there or sections)[0]}.enabled", True)


def on_gpu_in_more_than_16_bits(situation: Situation) -> bool:
    """Whether a format of 16 bits is likely to pay: a CPU has seldom instructions for it."""
    return situation.context.device == "cuda" and precision(situation.config) == "fp32"


def _pointless(situation: Situation) -> str | None:
    if precision_is_open(situation.config):
        return 'the script sets the number format ("auto")'
    for section in ("amp", "torch_autocast"):
        if is_on(situation.config, f"{section}.enabled"):
            return f"the config computes by {section}"
    types = situation.context.parameters_by_type
    if precision(situation.config) == "fp32" and any("float16" in name for name in types):
        return "the script makes its model in 16 bits by itself"
    return None


KNOBS: tuple[Knob, ...] = (
    Knob(
        name=NAME,
        applied=Applied.CONFIG,
        path="bf16.enabled",
        aliases=("bfloat16.enabled", "fp16.enabled"),
        summary="number format of weights, activations and gradients (DeepSpeed's bf16 and fp16 sections)",
        reason="16 bits move half the bytes and use the tensor cores; the optimizer keeps 32 bits",
        read=own_format,
        values=formats,
        apply=write_format,
        accepts=one_of(*FORMATS),
        pointless=_pointless,
        by_default=on_gpu_in_more_than_16_bits,
        changes_numerics=True,
        changes_checkpoint=True,
        structural=True,
        ordered=False,
        weight=3.0,
        promising=lambda values: "bf16" if "bf16" in values else None,
        witness="type of most of the model's parameters, in the journal's header",
    ),
)
