"""The loss scale of an engine that trains in fp16, as the host knows it; the device is never asked."""

from __future__ import annotations

from typing import Any


def scales_loss(engine: Any) -> bool:
    """Whether the engine trains in DeepSpeed's fp16; a bf16 one holds a scale of 1."""
    try:
        return bool(engine.fp16_enabled())
    except Exception:  # an engine of another version must not switch the probe off
        return False


def loss_scale(engine: Any) -> float | None:
    """The scale that the next loss is multiplied by, or None where it is not known without waiting.

    ``loss_scale`` is the name that FP16_Optimizer, FP16_UnfusedOptimizer and the optimizers of ZeRO 1, 2 and
    3 (DeepSpeed 0.19) share; the fields behind it differ.
    """
    try:
        found = engine.optimizer.loss_scale
    except Exception:  # as above: the names are an implementation's
        return None
    # A script that overrides the scale may hand in a tensor, which may live on the device.
    return float(found) if isinstance(found, (int, float)) and not isinstance(found, bool) else None
