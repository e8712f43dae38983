"""The loss of scripts that call ``loss.backward()`` instead of the engine's.

DeepSpeed hears of such a backward by a hook on what its forward returned.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flyball.runner.probe.evaluation import EVALUATING
from flyball.runner.probe.meter import ATTRIBUTE, Meter
from flyball.runner.probe.watch import SLOT

WATCHED = "_flyball_watched"


class Running:
    """The tensor whose ``backward`` is running; the hook may be called in a thread of autograd's."""

    __slots__ = ("loss", "unscaled")

    def __init__(self) -> None:
        self.loss: Any = None
        self.unscaled: Any = None
        """What ``engine.scale`` was given for it."""


RUNNING = Running()


def trained(engine: Any, meter: Meter) -> None:
    """A backward: the module trains in the mode that it is in, and is not being evaluated."""
    meter.trains_in_eval_mode = not engine.__dict__["_modules"]["module"].training
    if meter.phases:
        meter.resume(EVALUATING)


def watch_backward(tensor_class: Any, engine_class: Any) -> None:
    """Wrap ``Tensor.backward`` and what DeepSpeed does around one that it did not start; where it can be."""
    prologue = engine_class.__dict__.get("_backward_prologue")
    if prologue is None:
        return
    engine_class._backward_prologue = _prologue(prologue)
    if "scale" in engine_class.__dict__:
        engine_class.scale = _scale(engine_class.scale)
    if not getattr(tensor_class.backward, WATCHED, False):
        tensor_class.backward = _backward(tensor_class.backward)


def _backward(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def backward(self: Any, *args: Any, **kwargs: Any) -> Any:
        before, RUNNING.loss = RUNNING.loss, self
        try:
            return original(self, *args, **kwargs)
        finally:
            RUNNING.loss = before

    setattr(backward, WATCHED, True)
    return backward


def _scale(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def scale(self: Any, loss: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, loss, *args, **kwargs)
        RUNNING.unscaled = loss
        return result

    return scale


def _prologue(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def backward_prologue(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        # engine.backward has taken its loss; of several forwards in one backward the first takes it.
        if probe is not None and probe.watching and not getattr(self, "_running_engine_backward", False):
            probe.safely(_take, self)
        return original(self, *args, **kwargs)

    return backward_prologue


def _take(engine: Any) -> None:
    meter = engine.__dict__.get(ATTRIBUTE)
    loss = RUNNING.loss if RUNNING.unscaled is None else RUNNING.unscaled
    RUNNING.loss = RUNNING.unscaled = None
    if meter is None or meter.pipeline or loss is None:
        return
    trained(engine, meter)
    if loss.numel() == 1:
        meter.mean_loss = True
        meter.readings.loss(loss.detach())
