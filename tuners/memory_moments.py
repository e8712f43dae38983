"""What lies on one rank's device beside the activations, at the moments of a step when most does.

Counted from the sizes of weights, gradients, master weights, optimizer states and buckets, each divided over
the replicas from the ZeRO stage on that partitions it (Rajbhandari et al., arXiv 1910.02054, table 1), and
from when DeepSpeed 0.19 makes and frees them (runtime/zero/stage_1_and_2.py, runtime/zero/stage3.py,
runtime/bf16_optimizer.py, runtime/fp16/unfused_optimizer.py).
"""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

from flyball.tuners.config import known, read
from flyball.tuners.context import Context, pipelined, release, replicas_of, resolve_batch
from flyball.tuners.shape import (
    BUCKET_ELEMENTS,
    MAX_STAGE,
    PREFETCH_ELEMENTS,
    accumulates_in_fp32,
    is_on,
    number_of,
    offloads,
    optimizer_type,
    overlap_of,
    precision,
    precision_is_open,
    stage_of,
)

SINGLE, HALF = 4, 2
"""Bytes of one number."""
SUB_GROUP_ELEMENTS = 1_000_000_000
"""DeepSpeed's default of ``sub_group_size``: what stage 3 updates at a time."""
STATES = {
    "adam": 2,
    "adamw": 2,
    "onebitadam": 2,
    "zerooneadam": 2,
    "lamb": 2,
    "onebitlamb": 2,
    "muadam": 2,
    "muadamw": 2,
    "lion": 1,
    "adagrad": 1,
    "sgd": 0,
    "musgd": 0,
    "adafactor": 0,
}
"""Numbers of an optimizer's state for each trained parameter, at least."""
LIKELY_STATES = 2
"""Of an optimizer that is not known: most are Adam's kin."""


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
    parts = _parts(config, context, certain=certain)
    if _holds_bf16_optimizer(config):
        return parts.bf16_optimizer()
    if parts.stage == MAX_STAGE:
        return parts.stage_3()
    if parts.stage:
        return parts.stages_1_and_2()
    if certain and precision(config) == "bf16" and not _is_recent(context):
        # Before 0.19 the same config had the BF16 optimizer, which partitions its states.
        return parts.stage_0().least(parts.bf16_optimizer())
    return parts.stage_0()


def _holds_bf16_optimizer(config: Mapping[str, Any]) -> bool:
    """Whether DeepSpeed takes its BF16 optimizer (runtime/engine.py, ``_do_optimizer_sanity_check``)."""
    wanted = precision(config) == "bf16" and accumulates_in_fp32(config) and stage_of(config) == 1
    return wanted and not offloads(config, "optimizer")


def _is_recent(context: Context) -> bool:
    installed = release(context.deepspeed_version)
    return installed is not None and installed >= (0, 19)


@dataclass(frozen=True, kw_only=True, slots=True)
class Parts:
    """Bytes of each kind; ``own`` ones are those of one replica's share."""

    stage: int
    certain: bool
    single: bool
    """Whether the model itself is fp32: its gradients need no conversion."""
    wide: bool
    """Whether gradients are added up in fp32."""
    weights: int
    own_weights: int
    states: int
    """Master weights and optimizer states, of all trained parameters."""
    own_states: int
    gradients: int
    own_gradients: int
    accumulated: bool
    """Whether gradients of earlier micro batches are there when the last one is fed."""
    bucket: int
    """One bucket of gradients, in the model's format."""
    buckets: int
    converted: int
    """The gradients of all trained parameters in the format of the master weights."""
    own_converted: int
    temporary: int
    """What the optimizer's kernels take on top for all trained parameters."""
    own_temporary: int
    gathered: int
    """Weights of other replicas that stage 3 holds for a while."""
    staging: int
    """A buffer through which offloaded gradients go."""
    sub_group_ratio: float
    """The share that stage 3 updates at a time."""
    offloaded: bool

    def stage_0(self) -> Moments:
        """Nothing is partitioned; in 16 bits the step makes fp32 gradients of all."""
        resting = self.weights + self.states
        grown = resting + self.gradients
        converted = 0 if self.single else self.converted
        return Moments(
            resting=resting,
            loss=resting + self.gradients * self.accumulated,
            first_gradient=resting + self.gradients * self.accumulated,
            last_gradient=grown,
            step=grown + converted + self.temporary,
        )

    def bf16_optimizer(self) -> Moments:
        """Fp32 gradients of all parameters stay for good, states are partitioned."""
        resting = self.weights + self.own_states + self.converted
        return Moments(
            resting=resting,
            loss=resting,
            first_gradient=resting,
            last_gradient=resting,
            step=resting + self.own_temporary,
        )

    def stages_1_and_2(self) -> Moments:
        """Buckets come with the first gradient and go with the last."""
        resting = self.weights + self.own_states + self.staging
        kept = 0 if self.offloaded else self.gradients if self.stage == 1 else self.own_gradients
        begun = resting + kept * self.accumulated
        # The partition is flattened, then converted; one that was accumulated in fp32 is flat already.
        flat = self.own_gradients if self.single or not self.wide else 0
        converting = self.own_gradients + flat + (0 if self.single or self.wide else self.own_converted)
        updating = self.own_converted + self.own_temporary
        return Moments(
            resting=resting,
            loss=begun,
            first_gradient=begun + self.buckets,
            last_gradient=resting + kept + self.buckets,
            step=resting if self.offloaded else resting + max(converting, updating),
        )

    def stage_3(self) -> Moments:
        """Partitions of gradients and one bucket stay for good; the states are updated group by group."""
        resting = self.own_weights + self.own_states + self.bucket
        resting += 0 if self.offloaded else self.own_gradients
        updating = 0 if self.single else self.own_converted
        updated = int((updating + self.own_temporary) * self.sub_group_ratio)
        running = resting + self.gathered
        # What is gathered is there with the activations of its own layer only.
        return Moments(
            resting=resting,
            loss=resting if self.certain else running,
            first_gradient=resting if self.certain else running,
            last_gradient=running,
            step=resting if self.offloaded else resting + updated,
        )


def _parts(config: Mapping[str, Any], context: Context, *, certain: bool) -> Parts:
    stage, replicas = stage_of(config), replicas_of(config, context)
    element = _element(config, context)
    trained = context.trained_parameters
    share = trained / replicas
    offloaded, away = (
        offloads(config, "optimizer") and stage > 0,
        offloads(config, "param") and stage == MAX_STAGE,
    )
    a_parameter = 0 if offloaded else _state_bytes(config, context, stage, certain=certain)
    weights = _weight_bytes(context, element)
    accumulated = SINGLE if accumulates_in_fp32(config) and precision(config) != "fp32" else element
    # Under autocast older versions had buckets in its format.
    bucket_element = HALF if certain and is_on(config, "torch_autocast.enabled") else element
    bucket = _elements(config, context, "reduce_bucket_size", BUCKET_ELEMENTS, certain=certain)
    bucket *= bucket_element
    contiguous = is_on(config, "zero_optimization.contiguous_gradients", default=True)
    temporary = 0 if certain or offloaded else _temporary_bytes(config, context)
    batch = resolve_batch(config, context)
    sub_group = _elements(config, context, "sub_group_size", SUB_GROUP_ELEMENTS, certain=certain)
    return Parts(
        stage=stage,
        certain=certain,
        single=precision(config) == "fp32",
        wide=accumulates_in_fp32(config),
        weights=weights,
        own_weights=0 if away else weights // replicas,
        states=trained * a_parameter,
        own_states=int(share * a_parameter),
        gradients=trained * accumulated,
        own_gradients=int(share * accumulated),
        accumulated=batch is not None and batch.accumulation > 1,
        bucket=bucket if contiguous else 0,
        buckets=bucket * (2 if overlap_of(config) else 1) if contiguous else 0,
        converted=trained * _master_bytes(config),
        own_converted=int(share * _master_bytes(config)),
        temporary=trained * temporary,
        own_temporary=int(share * temporary),
        gathered=_gathered_bytes(config, context, element, certain=certain) if replicas > 1 or away else 0,
        staging=(context.largest_parameter or 0) * element if offloaded else 0,
        sub_group_ratio=min(1.0, sub_group / share) if share else 1.0,
        offloaded=offloaded,
    )


def _element(config: Mapping[str, Any], context: Context) -> int:
    """Bytes of one weight: a script may make its model in 16 bits by itself, with nothing in the config."""
    own = context.parameters_by_type
    halved = precision(config) != "fp32" or any(name in ("float16", "bfloat16") for name in own)
    return HALF if halved else SINGLE


def _weight_bytes(context: Context, element: int) -> int:
    """Weights as the engine casts them; whole numbers (quantized weights) stay as they are."""
    by_type = context.parameters_by_type or {"float32": context.parameters or 0}
    return sum(count * (element if "float" in name else 1) for name, count in by_type.items())


def _state_bytes(config: Mapping[str, Any], context: Context, stage: int, *, certain: bool) -> int:
    """Master weights and optimizer states for each trained parameter."""
    single, low = precision(config) == "fp32", _master_bytes(config) == HALF
    low = low or (single and stage == 0 and _element(config, context) == HALF)
    name = (optimizer_type(config) or "").lower()
    numbers = STATES.get(name, 0 if certain else LIKELY_STATES)
    if name.endswith("sgd") and number_of(known(config, "optimizer.params.momentum", 0)):
        numbers = 1
    width = HALF if low or (certain and is_on(config, "bf16.bf16_optimizer_states")) else SINGLE
    # Stages 1 and 2 clone what is fp32 already; stage 3 may work on the weights themselves.
    masters = width if not single or stage in (1, 2) else 0
    if certain and low and stage in (0, MAX_STAGE):
        masters = 0
    return masters + numbers * width


def _master_bytes(config: Mapping[str, Any]) -> int:
    """Bytes of one master weight, and of the gradient that it is updated with."""
    keys = ("bf16.bf16_master_weights_and_grads", "fp16.fp16_master_weights_and_grads")
    return HALF if any(is_on(config, key) for key in keys) else SINGLE


def _temporary_bytes(config: Mapping[str, Any], context: Context) -> int:
    """What torch's Adam takes for all parameters at once on CUDA, unless it is fused."""
    name = (optimizer_type(config) or "adam").lower()
    own = (
        name in ("adam", "adamw")
        and optimizer_type(config)
        and not is_on(config, "optimizer.params.torch_adam")
    )
    if own or name not in ("adam", "adamw") or is_on(config, "optimizer.params.fused"):
        return 0
    return SINGLE


def _gathered_bytes(config: Mapping[str, Any], context: Context, element: int, *, certain: bool) -> int:
    largest = context.largest_module or context.largest_parameter or 0
    if certain:
        return (context.largest_parameter or 0) * element
    ahead = _elements(config, context, "stage3_prefetch_bucket_size", PREFETCH_ELEMENTS, certain=False)
    return min(context.parameters or 0, largest + ahead) * element


def _elements(config: Mapping[str, Any], context: Context, name: str, default: int, *, certain: bool) -> int:
    """A size in elements; for the "auto" of transformers the square of the hidden size, which it takes."""
    written = read(config, f"zero_optimization.{name}")
    if written == "auto":
        return context.embedding[1] ** 2 if context.embedding and not certain else 0
    return int(number_of(default if written is None else written) or 0)
