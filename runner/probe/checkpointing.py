"""Activation checkpointing of a model that has a switch for it: what is on, and turning it on or off."""

from __future__ import annotations

from typing import Any

from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import Probe

SETTLED_STEPS = 3
"""By then the model has run with what was asked for."""
SWITCHES = ("activation_checkpointing", "gradient_checkpointing")
"""Prefixes of transformers' methods; the second is the name before transformers renamed them."""


def activation_checkpointing(module: Any) -> bool | None:
    """Whether the model recomputes activations in the backward pass, or None where it has no switch.

    The switch is that of transformers' ``PreTrainedModel``.
    """
    if not getattr(module, "supports_gradient_checkpointing", False) or _switch(module, "enable") is None:
        return None
    return recomputing_layers(module) > 0


def checkpoint_activations(probe: Probe, engine: Any, meter: Meter, wanted: bool) -> None:
    """Switch activation checkpointing on or off, and report how many layers then recompute."""
    module = engine.module
    if activation_checkpointing(module) is None:
        value = {"layers": 0, "reason": "the model has no switch for activation checkpointing"}
        probe.say("witness", knob="activation_checkpointing", value=value)
        return
    if wanted:
        _switch(module, "enable")({"use_reentrant": False})
    else:
        _switch(module, "disable")()
    reported = False

    def witness(_: Any) -> None:
        nonlocal reported
        if not reported and meter.step >= SETTLED_STEPS:
            reported = True
            value = {"layers": recomputing_layers(module)}
            probe.say("witness", knob="activation_checkpointing", value=value)

    meter.at_boundary.append(witness)


def recomputing_layers(module: Any) -> int:
    """Parts of a model whose own flag says that they are recomputed."""
    return sum(getattr(part, "gradient_checkpointing", False) is True for part in module.modules())


def _switch(module: Any, action: str) -> Any:
    """The model's method to ``enable`` or ``disable`` it by the newest name that it has, or None."""
    return next((found for name in SWITCHES if (found := getattr(module, f"{name}_{action}", None))), None)
