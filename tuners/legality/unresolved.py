"""What a config leaves open: values for transformers to fill in."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found

MEANT_FOR_DEEPSPEED = (
    "zero_optimization.zenflow.",
    "pipeline.",
    "autotuning.",
    "data_types.keep_in_fp32_modules",
)
"""Here "auto" is DeepSpeed's own."""


def auto_values(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """ "auto" is filled in by transformers and accelerate; DeepSpeed alone takes defaults, or fails."""
    for key in _autos(config, ""):
        if not key.startswith(MEANT_FOR_DEEPSPEED):
            mend = "nothing, with a Trainer or accelerate; else write the value"
            yield found("auto-value", key, "is for transformers or accelerate to fill in", mend)


def _autos(section: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in section.items():
        place = f"{path}.{key}" if path else key
        if value == "auto":
            yield place
        elif isinstance(value, Mapping):
            yield from _autos(value, place)


NOTES: tuple[Rule, ...] = (auto_values,)
