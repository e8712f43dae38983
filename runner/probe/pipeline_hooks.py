"""Counts what a PipelineEngine feeds, which never calls ``forward`` from outside, and times its passes.

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
    for name, wrapped_by in (("_exec_forward_pass", _micro_batch), ("_exec_backward_pass", _timed)):
        original = getattr(engine_class, name, None)
        if original is None:  # another version's schedule: its bubble is not measured
            continue
        wrapped = wrapped_by(original, meter_of)
        setattr(engine_class, name, wrapped)
        # The schedule calls through this map, which holds the functions themselves.
        instructions = engine_class._INSTRUCTION_MAP
        instructions.update({kind: wrapped for kind, known in instructions.items() if known is original})
    engine_class.train_batch = _train_batch(engine_class.train_batch, meter_of)
    engine_class.eval_batch = _eval_batch(engine_class.eval_batch, meter_of)


def _timed(original: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    @functools.wraps(original)
    def exec_pass(self: Any, buffer_id: int) -> Any:
        probe = SLOT.probe
        if probe is None or not probe.watching or not self.module.training:
            return original(self, buffer_id)
        meter = probe.safely(meter_of, self, probe)
        times = meter.stage_times if meter is not None else None
        begun = probe.safely(times.begin) if times is not None else None
        result = original(self, buffer_id)
        if begun is not None and times is not None:
            probe.safely(times.end, begun)
        return result

    return exec_pass


def _micro_batch(original: Callable[..., Any], meter_of: MeterOf) -> Callable[..., Any]:
    timed = _timed(original, meter_of)

    @functools.wraps(original)
    def exec_forward_pass(self: Any, buffer_id: int) -> Any:
        result = timed(self, buffer_id)
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
                    if meter.stage_times is not None:
                        meter.stage_times.close()
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
