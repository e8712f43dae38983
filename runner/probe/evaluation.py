"""Sees evaluation: a change of mode, of the engine or of the bare module that transformers' Trainer and
Lightning evaluate without asking the engine.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import SLOT

EVALUATING = "evaluating"
WRAPPED = "_flyball_watched"
WATCHED: WeakKeyDictionary[Any, Meter] = WeakKeyDictionary()
"""Module of an engine to the engine's meter. A mark on the module itself would go into its copies and
pickles."""


def watch_module(module: Any, meter: Meter) -> None:
    """Follow the mode of one engine's module; ``eval()`` calls ``train(False)``, so one method is enough.

    Its class is wrapped, not ``torch.nn.Module``: a change of mode visits every submodule, and these are not
    to pay for it.
    """
    module_class = type(module)
    if not getattr(module_class.train, WRAPPED, False):
        module_class.train = _train(module_class.train)
    WATCHED[module] = meter


def mode_changed(meter: Meter | None, *, training: bool) -> None:
    """A change of mode begins or ends an evaluation; the same mode again (Trainer sets it each step) is
    nothing.
    """
    probe = SLOT.probe
    if probe is None or not probe.watching or meter is None or meter.trains_in_eval_mode:
        return
    if training:
        probe.safely(meter.resume, EVALUATING)
    else:
        probe.safely(meter.pause, EVALUATING)


def _train(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def train(self: Any, *args: Any, **kwargs: Any) -> Any:
        meter = WATCHED.get(self)
        if meter is not None:
            mode_changed(meter, training=bool(args[0] if args else kwargs.get("mode", True)))
        return original(self, *args, **kwargs)

    setattr(train, WRAPPED, True)
    return train
