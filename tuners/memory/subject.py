"""What memory sees of a configuration, and of a run that was made with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from flyball.tuners.base import Configuration
from flyball.tuners.config.shape import accumulates_in_fp32, offloads, precision, stage_of
from flyball.tuners.legality.context import Context, resolve_batch
from flyball.tuners.memory.activations import Kind
from flyball.tuners.memory.moments import Moments


class Family(NamedTuple):
    """The structure of a configuration: what DeepSpeed and torch handle alike."""

    stage: int
    precision: str
    fp32_accumulation: bool
    offloads: tuple[bool, bool]
    """Of the optimizer, of the parameters."""
    kind: Kind


def unknown_effects(configuration: Configuration, context: Context) -> frozenset[str]:
    """Return the attention and the script's options that a trial sets, but for those that carry the batch."""
    batch, attention = set(context.maps.values()), configuration.probe.get("attention")
    options = (f"{name}={value}" for name, value in configuration.arguments.items() if name not in batch)
    return frozenset((*options, *([f"attention={attention}"] if attention else [])))


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """A configuration as far as memory is concerned."""

    config: Mapping[str, Any]
    micro_batch: int
    kind: Kind

    @classmethod
    def of(cls, configuration: Configuration, context: Context) -> "Subject | None":
        """What a configuration means in a job; None where its micro batch is not known."""
        config = configuration.ds_config
        batch = resolve_batch(config, context)
        if batch is None:
            return None
        checkpointing = configuration.probe.get("activation_checkpointing", context.activation_checkpointing)
        kind = Kind(
            element=4 if precision(config) == "fp32" else 2,
            checkpointing=bool(checkpointing),
            compiled=bool(configuration.probe.get("compile")),
            others=unknown_effects(configuration, context),
        )
        return cls(config=config, micro_batch=batch.micro, kind=kind)

    @property
    def family(self) -> Family:
        """The family that the configuration belongs to."""
        return Family(
            stage=stage_of(self.config),
            precision=precision(self.config),
            fp32_accumulation=accumulates_in_fp32(self.config),
            offloads=(offloads(self.config, "optimizer"), offloads(self.config, "param")),
            kind=self.kind,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Peak:
    """What one run needed."""

    subject: Subject
    held: Moments
    """What lay there beside the activations."""
    allocated_bytes: int
    reserved_bytes: int
    family: Family
    resting_bytes: int | None
    """What was allocated between two steps, where that was seen."""
    kept_bytes: int | None
    """What a forward pass left for its backward pass, where that was seen."""

    @property
    def surplus_bytes(self) -> int:
        """What lay there between two steps and was not counted: workspaces, a teacher model."""
        return max(0, self.resting_bytes - self.held.resting) if self.resting_bytes else 0

    @property
    def reserved_ratio(self) -> float:
        """Logarithm of reserved over allocated."""
        return math.log(max(1.0, self.reserved_bytes / self.allocated_bytes))
