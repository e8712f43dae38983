"""The shape of a config: what must be a section, a name or a switch."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import read, stands
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found, shown

SECTIONS = (
    "optimizer",
    "optimizer.params",
    "scheduler",
    "scheduler.params",
    "fp16",
    "bf16",
    "bfloat16",
    "zero_optimization",
    "activation_checkpointing",
    "tensor_parallel",
    "pipeline",
    "comms_logger",
    "flops_profiler",
    "aio",
    "elasticity",
    "compile",
    "tensorboard",
    "wandb",
    "csv_monitor",
    "comet",
    "timers",
    "timers.throughput",
    "checkpoint",
    "data_types",
    "data_efficiency",
    "hybrid_engine",
    "torch_autocast",
    "autotuning",
)
MAY_BE_NULL = frozenset({"bf16", "aio", "optimizer.params", "scheduler.params"})
NAMES = ("optimizer.type", "scheduler.type")
SWITCHES = ("wall_clock_breakdown", "flops_profiler.enabled")
"""DeepSpeed computes with these (runtime/config.py), so that nothing else will do."""


def sections(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed fails on a section that is no mapping; ``"zero_optimization": true`` is its old form."""
    for key in SECTIONS:
        if not stands(config, key):
            continue
        value = read(config, key)
        old_form = key == "zero_optimization" and isinstance(value, bool)
        if not isinstance(value, Mapping) and not old_form and not (value is None and key in MAY_BE_NULL):
            yield found("section-shape", key, f"{shown(value)} is not a section", 'write {"key": value, ...}')


def names(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Optimizers and schedulers go by name."""
    for key in NAMES:
        value = read(config, key)
        if value is not None and not isinstance(value, str):
            yield found("name-shape", key, f"{shown(value)} is not a name", 'write a name, as in "AdamW"')


def switches(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Switches that DeepSpeed computes with."""
    for key in SWITCHES:
        if stands(config, key) and not isinstance(value := read(config, key), bool | int):
            yield found(
                "switch-shape", key, f"{shown(value)} is neither true nor false", "write true or false"
            )


RULES: tuple[Rule, ...] = (sections, names, switches)
