"""Activation checkpointing, checkpoints and their I/O."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import is_on
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found, shown

ACTIVATIONS = "activation_checkpointing"


def activations(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Contiguous buffers are for partitioned activations, and their number has to be told."""
    key = f"{ACTIVATIONS}.contiguous_memory_optimization"
    contiguous, number = is_on(config, key), read(config, f"{ACTIVATIONS}.number_checkpoints")
    if contiguous and not is_on(config, f"{ACTIVATIONS}.partition_activations"):
        yield found(
            "checkpointing-contiguous", key, "needs partition_activations", "set it to true, or remove this"
        )
    if contiguous and number is None:
        yield found("checkpointing-contiguous", key, "needs number_checkpoints", "write the number of layers")
    if not contiguous and number:
        what, mend = "does nothing without contiguous_memory_optimization", "remove it"
        yield found("checkpointing-idle", f"{ACTIVATIONS}.number_checkpoints", what, mend)


def checkpoint(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Values that DeepSpeed checks (runtime/config.py)."""
    tag = read(config, "checkpoint.tag_validation", "warn")
    if not isinstance(tag, str) or tag.lower() not in ("warn", "ignore", "fail"):
        key = "checkpoint.tag_validation"
        yield found("checkpoint-values", key, f"{shown(tag)} is no mode", "write Warn, Ignore or Fail")
    staged = read(config, "checkpoint.parallel_write.pipeline_stage", False)
    if staged not in (True, False):
        key = "checkpoint.parallel_write.pipeline_stage"
        yield found(
            "checkpoint-values", key, f"{shown(staged)} is neither true nor false", "write true or false"
        )


def storage(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """GPUDirect Storage."""
    if context.device == "cpu" and known(config, "aio.use_gds", False):
        yield found("aio-gds", "aio.use_gds", "GPUDirect Storage needs CUDA", "set it to false")


RULES: tuple[Rule, ...] = (activations, checkpoint, storage)
