"""Bytes of weights, gradients, states and buckets that a config means for a model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flyball.tuners.config.reading import known, read
from flyball.tuners.config.shape import (
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
    stage_of,
)
from flyball.tuners.legality.context import Context, replicas_of, resolve_batch

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


def parts_of(config: Mapping[str, Any], context: Context, *, certain: bool) -> Parts:
    """Return the bytes of each kind; see ``memory_moments.moments`` for what is certain."""
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
