"""The shape of a config: what must be a section, a name or a switch."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config import read
from flyball.tuners.context import Context
from flyball.tuners.finding import Finding, Rule, error

SECTIONS = (
    "optimizer",
    "optimizer.params",
    "scheduler",
    "scheduler.params",
    "fp16",
    "bf16",
    "zero_optimization",
    "zero_optimization.offload_param",
    "zero_optimization.offload_optimizer",
    "activation_checkpointing",
    "tensor_parallel",
    "pipeline",
    "comms_logger",
    "flops_profiler",
    "aio",
    "elasticity",
    "compile",
)
NAMES = ("optimizer.type", "scheduler.type")
SWITCHES = ("fp16.enabled", "bf16.enabled")


def sections(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed fails on a section that is no mapping; ``"zero_optimization": true`` is its old form."""
    for key in SECTIONS:
        value = read(config, key)
        old_form = key == "zero_optimization" and isinstance(value, bool)
        if value is not None and not isinstance(value, Mapping) and not old_form:
            yield error(key, f"{value!r} is not a section", 'write {"key": value, ...}')


def names(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Optimizers and schedulers go by name."""
    for key in NAMES:
        value = read(config, key)
        if value is not None and not isinstance(value, str):
            yield error(key, f"{value!r} is not a name", 'write a name, as in "AdamW"')


def switches(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A number or a text in place of true or false switches on what it does not seem to."""
    for key in SWITCHES:
        value = read(config, key)
        if value is not None and value != "auto" and not isinstance(value, bool):
            yield error(key, f"{value!r} is neither true nor false", "write true or false")


RULES: tuple[Rule, ...] = (sections, names, switches)
