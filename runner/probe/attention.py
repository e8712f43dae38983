"""The attention of a transformers model: which implementation it uses, which it could, and changing it."""

from __future__ import annotations

import importlib.util
from typing import Any

from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import Probe

SETTLED_STEPS = 3
"""By then the model has run with what was asked for."""
FLASH = "flash_attention_2"
HALVES = ("torch.float16", "torch.bfloat16")
"""The data types that FlashAttention computes in."""


def attention_facts(module: Any, device: str) -> dict[str, Any]:
    """``attention``, the implementation in use, and ``attentions``, those that can be had here.

    Without transformers' ``set_attn_implementation`` they are None and empty.
    """
    now = _implementation(module)
    if now is None or not callable(getattr(module, "set_attn_implementation", None)):
        return {"attention": None, "attentions": []}
    found = ["eager"]
    if getattr(module, "_supports_sdpa", False):
        found.append("sdpa")
    if _has_flash(module, device):
        found.append(FLASH)
    return {"attention": now, "attentions": found}


def _has_flash(module: Any, device: str) -> bool:
    supported = getattr(module, "_supports_flash_attn", False) or getattr(
        module, "_supports_flash_attn_2", False
    )
    fits = device.startswith("cuda") and str(getattr(module, "dtype", None)) in HALVES
    return bool(supported) and fits and importlib.util.find_spec("flash_attn") is not None


def _implementation(module: Any) -> str | None:
    name = getattr(getattr(module, "config", None), "_attn_implementation", None)
    return name if isinstance(name, str) else None


def use_attention(probe: Probe, engine: Any, meter: Meter, wanted: str) -> None:
    """Switch the model's attention, and report how many of its layers then say that they use it."""
    module = engine.module
    if wanted not in attention_facts(module, str(engine.device))["attentions"]:
        value = {"layers": 0, "reason": f"the model has no switch to {wanted}, or it is not installed"}
        probe.say("witness", knob="attention", value=value)
        return
    module.set_attn_implementation(wanted)
    reported = False

    def witness(_: Any) -> None:
        nonlocal reported
        if not reported and meter.step >= SETTLED_STEPS:
            reported = True
            value = {"implementation": _implementation(module), "layers": layers_with(module, wanted)}
            probe.say("witness", knob="attention", value=value)

    meter.at_boundary.append(witness)


def layers_with(module: Any, wanted: str) -> int:
    """Attention layers whose own configuration names an implementation: they look it up in each pass."""
    parts = (part for part in module.modules() if "attention" in type(part).__name__.lower())
    return sum(_implementation(part) == wanted for part in parts)
