"""What a config means, with DeepSpeed's defaults filled in."""

from collections.abc import Mapping
from typing import Any

from flyball.tuners.config.reading import known, read

MAX_STAGE = 3
BUCKET_ELEMENTS = 500_000_000
PREFETCH_ELEMENTS = 50_000_000
PERSISTENCE_ELEMENTS = 100_000
_ON = frozenset({"1", "on", "t", "true", "y", "yes"})
"""What pydantic takes for true."""


def stage_of(config: Mapping[str, Any]) -> int:
    """Return the ZeRO stage; the old form ``"zero_optimization": true`` is stage 1."""
    section = known(config, "zero_optimization", None)
    if isinstance(section, bool):
        return int(section)
    value = known(config, "zero_optimization.stage", 0)
    if isinstance(value, str):
        return int(value) if value in ("0", "1", "2", "3") else 0
    return int(value) if isinstance(value, int | float) and value == int(value) else 0


def is_on(config: Mapping[str, Any], key: str, *, default: bool = False) -> bool:
    """Whether a switch is on, as DeepSpeed reads it: also 1 and "true"."""
    value = known(config, key, default)
    return value.lower() in _ON if isinstance(value, str) else value is True or value == 1


def number_of(value: Any) -> float | None:
    """Return a number, one that is written as a text too; None for what is none."""
    try:
        return float(value) if isinstance(value, int | float | str) else None
    except ValueError:
        return None


def overlap_of(config: Mapping[str, Any]) -> bool:
    """Whether gradient reduction overlaps the backward pass; on by default at stage 3 only."""
    return bool(known(config, "zero_optimization.overlap_comm", stage_of(config) == MAX_STAGE))


def precision(config: Mapping[str, Any]) -> str:
    """Return the model's number format: ``fp16``, ``bf16`` or ``fp32``."""
    if is_on(config, "fp16.enabled"):
        return "fp16"
    return "bf16" if is_on(config, "bf16.enabled") or is_on(config, "bfloat16.enabled") else "fp32"


def precision_is_open(config: Mapping[str, Any]) -> bool:
    """Whether the model's number format is left to the script ("auto")."""
    return any(read(config, f"{section}.enabled") == "auto" for section in ("fp16", "bf16", "bfloat16"))


def accumulates_in_fp32(config: Mapping[str, Any]) -> bool:
    """Whether gradients are added up in fp32, by ``data_types`` or because the model is fp32."""
    wanted = known(config, "data_types.grad_accum_dtype", precision(config))
    return wanted in ("fp32", "float32", "float", "torch.float32")


def optimizer_type(config: Mapping[str, Any]) -> str | None:
    """Return the optimizer's name as written, or None where the script brings its own."""
    name = known(config, "optimizer.type", None)
    return name if isinstance(name, str) else None


def offloads(config: Mapping[str, Any], what: str) -> bool:
    """Whether ``what`` (``param`` or ``optimizer``) is offloaded to CPU or NVMe."""
    device = known(config, f"zero_optimization.offload_{what}.device", "none")
    old = "cpu_offload_param" if what == "param" else "cpu_offload"
    return device not in ("none", None) or bool(known(config, f"zero_optimization.{old}", False))
