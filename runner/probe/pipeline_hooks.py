"""Counts what a PipelineEngine feeds: it never calls ``forward`` from outside, and only its ends load data.

The first and the last stage report the samples that passed through them, and so say the same; whoever adds up
takes one rank a pipeline.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import perf_counter
from typing import Any

from flyball.runner.probe.batch import count_tensor, first_tensor
from flyball.runner.probe.watch import SLOT

MeterOf = Callable[[Any, Any], Any]


def watch_pipeline(engine_class: Any, meter_of: MeterOf) -> None:
    """Wrap the micro batch, the whole batch and the evaluation of a pipeline engine class."""
    original = engine_class._exec_forward_pass
    wrapped = _micro_batch(original, meter_of)
    engine_class._exec_forward_pass = wrapped
    # The schedule calls through this map, which holds the functions themselves.
    instructions = engine_class._INSTRUCTION_MAP
    instructions.update({name: wrapped for name, function in instructions.items() if function is original})
    engine_class.train_batch = _train_batch(engine_class.train_batch, meter_of)
    engine_class.eval_batch = _eval_batch(engine_class.eval_batch, meter_of)


def _micro_batch(original: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    @functools.wraps(original)
    def exec_forward_pass(self: Any, buffer_id: int) -> Any:
        result = original(self, buffer_id)
        probe = SLOT.probe
        if probe is not None and probe.watching and self.module.training:
            begun = perf_counter()
            try:
                meter = meter_of(self, probe)
                if meter is not None:
                    meter.fed(*count_buffers(self, buffer_id))
                    meter.cost += perf_counter() - begun
            except Exception:  # the workload must not see a fault of ours
                probe.failed()
        return result

    return exec_forward_pass


def count_buffers(engine: Any, buffer_id: int) -> tuple[int, int]:
    """``(samples, tokens)`` of one micro batch: as loaded at the first stage, by its labels at the last.

    Tokens come from the activations [B, S, H] where labels do not tell them. A stage in the middle says
    nothing: which dimension of an activation counts samples, only the model knows.
    """
    if not engine.is_first_stage() and not engine.is_last_stage():
        return 0, 0
    inputs = first_tensor(engine.pipe_buffers["inputs"][buffer_id])
    labels = None
    if engine.is_last_stage() and not engine.is_first_stage():
        labels = first_tensor(engine.pipe_buffers["labels"][buffer_id])
    if labels is None:
        return count_tensor(inputs) if inputs is not None and engine.is_first_stage() else (0, 0)
    samples, tokens = count_tensor(labels)
    if not tokens and inputs is not None:
        tokens = count_tensor(inputs)[1]
    return samples, tokens


def _train_batch(original: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    @functools.wraps(original)
    def train_batch(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is not None and probe.watching:
            probe.safely(_end_evaluation, self, probe, meter_of)
        loss = original(self, *args, **kwargs)
        if probe is not None and probe.watching:
            begun = perf_counter()
            try:
                meter = meter_of(self, probe)
                if meter is not None:
                    meter.readings.loss(loss)
                    meter.close(self)
                    meter.cost += perf_counter() - begun
            except Exception:  # the workload must not see a fault of ours
                probe.failed()
        return loss

    return train_batch


def _end_evaluation(engine: Any, probe: Any, meter_of: MeterOf) -> None:
    meter = meter_of(engine, probe)
    if meter is not None:
        meter.resume("evaluating")


def _eval_batch(original: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    @functools.wraps(original)
    def eval_batch(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        meter = probe.safely(meter_of, self, probe) if probe is not None and probe.watching else None
        if probe is None or meter is None:
            return original(self, *args, **kwargs)
        probe.safely(meter.pause, "evaluating")
        try:
            return original(self, *args, **kwargs)
        finally:
            probe.safely(meter.resume, "evaluating")

    return eval_batch
