"""What lies on one rank's device beside the activations, at the moments of a step when most does.

Counted from the sizes of weights, gradients, master weights, optimizer states and buckets, each divided over
the replicas from the ZeRO stage on that partitions it (Rajbhandari et al., arXiv 1910.02054, table 1), and
from when DeepSpeed 0.19 makes and frees them (runtime/zero/stage_1_and_2.py, runtime/zero/stage3.py,
runtime/bf16_optimizer.py, runtime/fp16/unfused_optimizer.py).
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from flyball.tuners.config.shape import (
    MAX_STAGE,
    accumulates_in_fp32,
    is_on,
    offloads,
    precision,
    precision_is_open,
    stage_of,
)
from flyball.tuners.legality.context import Context, pipelined, release
from flyball.tuners.memory.parts import Parts, parts_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Moments:
    """Bytes at the moments of a step, activations left out."""

    resting: int
    """Between two steps."""
    loss: int
    """The forward pass is over: all activations are there, and the gradients of earlier micro batches."""
    first_gradient: int
    """The buckets have come, and the activations of the layers are still there."""
    last_gradient: int
    """The activations have gone, and every gradient is there."""
    step: int
    """The optimizer works: its temporaries are there."""

    @property
    def most(self) -> int:
        """Bytes at the moment when most is there."""
        return max(self.loss, self.first_gradient, self.last_gradient, self.step)

    def least(self, other: "Moments") -> "Moments":
        """The lesser of two at each moment."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        resting, loss, first, last, step = (min(pair) for pair in pairs)
        return Moments(resting=resting, loss=loss, first_gradient=first, last_gradient=last, step=step)


def moments(config: Mapping[str, Any], context: Context, *, certain: bool) -> Moments | None:
    """Return what lies on a device, in bytes.

    None where the model's size or its number format is not known, where the model is split over ranks, and
    under DeepCompile, which plans memory itself.

    Args:
        certain: count only what is there whatever the script does: a lower bound. Else what is likely there:
            an unknown optimizer keeps what Adam keeps, and what is gathered and copied counts.
    """
    if context.parameters is None or context.model_parallel or pipelined(config, context):
        return None
    if precision_is_open(config) or is_on(config, "compile.deepcompile"):
        return None
    parts = parts_of(config, context, certain=certain)
    if _holds_bf16_optimizer(config):
        return _bf16_optimizer(parts)
    if parts.stage == MAX_STAGE:
        return _stage_3(parts)
    if parts.stage:
        return _stages_1_and_2(parts)
    if certain and precision(config) == "bf16" and not _is_recent(context):
        # Before 0.19 the same config had the BF16 optimizer, which partitions its states.
        return _stage_0(parts).least(_bf16_optimizer(parts))
    return _stage_0(parts)


def _holds_bf16_optimizer(config: Mapping[str, Any]) -> bool:
    """Whether DeepSpeed takes its BF16 optimizer (runtime/engine.py, ``_do_optimizer_sanity_check``)."""
    wanted = precision(config) == "bf16" and accumulates_in_fp32(config) and stage_of(config) == 1
    return wanted and not offloads(config, "optimizer")


def _is_recent(context: Context) -> bool:
    installed = release(context.deepspeed_version)
    return installed is not None and installed >= (0, 19)


def _stage_0(parts: Parts) -> Moments:
    """Nothing is partitioned; in 16 bits the step makes fp32 gradients of all."""
    resting = parts.weights + parts.states
    grown = resting + parts.gradients
    converted = 0 if parts.single else parts.converted
    return Moments(
        resting=resting,
        loss=resting + parts.gradients * parts.accumulated,
        first_gradient=resting + parts.gradients * parts.accumulated,
        last_gradient=grown,
        step=grown + converted + parts.temporary,
    )


def _bf16_optimizer(parts: Parts) -> Moments:
    """Fp32 gradients of all parameters stay for good, states are partitioned."""
    resting = parts.weights + parts.own_states + parts.converted
    return Moments(
        resting=resting,
        loss=resting,
        first_gradient=resting,
        last_gradient=resting,
        step=resting + parts.own_temporary,
    )


def _stages_1_and_2(parts: Parts) -> Moments:
    """Buckets come with the first gradient and go with the last."""
    resting = parts.weights + parts.own_states + parts.staging
    kept = 0 if parts.offloaded else parts.gradients if parts.stage == 1 else parts.own_gradients
    begun = resting + kept * parts.accumulated
    # The partition is flattened, then converted; one that was accumulated in fp32 is flat already.
    flat = parts.own_gradients if parts.single or not parts.wide else 0
    converting = parts.own_gradients + flat + (0 if parts.single or parts.wide else parts.own_converted)
    updating = parts.own_converted + parts.own_temporary
    return Moments(
        resting=resting,
        loss=begun,
        first_gradient=begun + parts.buckets,
        last_gradient=resting + kept + parts.buckets,
        step=resting if parts.offloaded else resting + max(converting, updating),
    )


def _stage_3(parts: Parts) -> Moments:
    """Partitions of gradients and one bucket stay for good; the states are updated group by group."""
    resting = parts.own_weights + parts.own_states + parts.bucket
    resting += 0 if parts.offloaded else parts.own_gradients
    updating = 0 if parts.single else parts.own_converted
    updated = int((updating + parts.own_temporary) * parts.sub_group_ratio)
    running = resting + parts.gathered
    # What is gathered is there with the activations of its own layer only.
    return Moments(
        resting=resting,
        loss=resting if parts.certain else running,
        first_gradient=resting if parts.certain else running,
        last_gradient=running,
        step=resting if parts.offloaded else resting + updated,
    )
