"""Wraps what DeepSpeed's engines do: forward, backward, the step boundary, evaluation."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from flyball.runner.probe.batch import count_batch
from flyball.runner.probe.checkpoints import watch_checkpoints
from flyball.runner.probe.collectives import watch_backend
from flyball.runner.probe.evaluation import EVALUATING, mode_changed, watch_module
from flyball.runner.probe.flight_recorder import begin as follow_flight_recorder
from flyball.runner.probe.header import header_fields, imported_modules
from flyball.runner.probe.knobs import apply_knobs
from flyball.runner.probe.losses import trained, watch_backward
from flyball.runner.probe.meter import ATTRIBUTE, Meter
from flyball.runner.probe.ping import begin as begin_ping
from flyball.runner.probe.pipeline_hooks import watch_pipeline
from flyball.runner.probe.readings import readings_for
from flyball.runner.probe.recovery import begin_recovery, watch_first_forward, watch_recovery
from flyball.runner.probe.stage_times import times_for
from flyball.runner.probe.substitution import Substituted, given_config
from flyball.runner.probe.watch import SLOT, Probe

PATCHED = "_flyball_watched"


def watch_deepspeed(deepspeed: Any) -> None:
    """Wrap ``initialize`` and the engine classes; a second call changes nothing."""
    if getattr(deepspeed, PATCHED, False):
        return
    setattr(deepspeed, PATCHED, True)
    deepspeed.initialize = _initialize(deepspeed.initialize)
    watch_engine_classes()


def watch_engine_classes() -> None:
    """Wrap the methods of DeepSpeed's engine classes, once."""
    from deepspeed.comm.torch import TorchBackend
    from deepspeed.runtime.engine import DeepSpeedEngine
    from deepspeed.runtime.pipe.engine import PipelineEngine

    if DeepSpeedEngine.__dict__.get(PATCHED):
        return
    setattr(DeepSpeedEngine, PATCHED, True)
    watch_engine(DeepSpeedEngine)
    watch_backward(sys.modules["torch"].Tensor, DeepSpeedEngine)
    watch_checkpoints(DeepSpeedEngine)
    watch_pipeline(PipelineEngine, meter_of)
    watch_backend(TorchBackend, sys.modules[TorchBackend.__module__])
    if SLOT.probe is not None and SLOT.probe.settings.recovers:
        for engine_class, forward, step in (
            (DeepSpeedEngine, "forward", "step"),
            (PipelineEngine, "train_batch", "train_batch"),
        ):
            watch_first_forward(engine_class, forward)
            watch_recovery(engine_class, step)


def watch_engine(engine_class: Any) -> None:
    """Wrap the methods of one engine class."""
    engine_class.forward = _forward(engine_class.forward)
    engine_class.backward = _backward(engine_class.backward)
    engine_class._take_model_step = _boundary(engine_class._take_model_step)
    engine_class.train = _train(engine_class.train)
    engine_class.eval = _eval(engine_class.eval)


def meter_of(engine: Any, probe: Probe) -> Meter | None:
    """The engine's meter; made, with its header, when the engine is first seen.

    Inside ``initialize`` there is none: an engine that is being built is not ready to describe itself.
    """
    meter: Meter | None = engine.__dict__.get(ATTRIBUTE)
    if meter is not None and meter.probe is probe:
        return meter
    return None if probe.in_initialize else begin_engine(engine, probe)


def begin_engine(engine: Any, probe: Probe) -> Meter:
    """Open the journal at the first engine, write the engine's header, start its meter."""
    torch = sys.modules["torch"]
    fields = header_fields(probe, engine, probe.engines)
    probe.journal.open(fields["rank"])
    probe.journal.record("header", **fields)
    meter = Meter(
        probe, engine, probe.engines, readings_for(torch, engine.device), pipeline="pipeline_stages" in fields
    )
    follow_flight_recorder(probe, probe.engines)
    begin_ping(probe, engine, meter)
    probe.engines += 1
    probe.meters.append(meter)
    engine.__dict__[ATTRIBUTE] = meter
    if meter.pipeline:
        meter.stage_times = times_for(torch, engine.device)
    else:
        watch_module(engine.module, meter)
    if meter.engine_number == 0:
        meter.at_first_step.append(lambda: probe.journal.record("startup", **started(probe, meter)))
    if "modules" in fields and probe.trial:
        meter.at_first_step.append(_late_modules(probe, meter, fields["modules"]))
    return meter


def started(probe: Probe, meter: Meter) -> dict[str, Any]:
    """The fields of ``startup``."""
    return {"engine": meter.engine_number, "seconds": probe.startup.end()}


def _late_modules(probe: Probe, meter: Meter, known: list[str]) -> Callable[[], None]:
    """Report what the first step imported on top: optimizers and compilers load themselves then."""

    def report() -> None:
        before = set(known)
        late = [name for name in imported_modules() if name not in before]
        probe.journal.record("modules", engine=meter.engine_number, names=late)

    return report


def _initialize(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def initialize(*args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is None or probe.in_initialize:
            return original(*args, **kwargs)
        chosen = probe.initialized == probe.settings.substitute_engine
        probe.in_initialize = True
        probe.startup.turn("engine")
        try:
            result = _initialize_substituted(probe, original, args, kwargs, chosen=chosen)
        finally:
            probe.in_initialize = False
            probe.startup.turn("data")
        probe.initialized += 1
        if probe.watching:
            meter = probe.safely(begin_engine, result[0], probe)
            if meter is not None and chosen:
                apply_knobs(probe, result[0], meter)
        begin_recovery(probe, result[0])
        return result

    return initialize


def _initialize_substituted(
    probe: Probe, original: Callable[..., Any], args: Any, kwargs: Any, *, chosen: bool
) -> Any:
    substitute = probe.settings.substitute_config if chosen else None
    if substitute is None:
        source = probe.safely(given_config, original, args, kwargs)
        probe.config_source = source[0] if source else "argument"
        return original(*args, **kwargs)
    probe.config_source = "substituted"
    with Substituted(original, args, kwargs, substitute) as call:
        return original(*call.args, **call.kwargs)


def _forward(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is not None and probe.watching:
            begun = perf_counter()
            try:
                meter = meter_of(self, probe)
                if meter is not None and not meter.pipeline:
                    if _trains(self, meter):
                        if meter.phases:
                            # Lightning puts the mode back without a call.
                            meter.resume(EVALUATING)
                        if not meter.step:
                            probe.startup.turn("first_step")
                        meter.fed(*count_batch(args, kwargs))
                        meter.activations.forward()
                    meter.cost += perf_counter() - begun
            except Exception:  # the workload must not see a fault of ours
                probe.failed()
        return original(self, *args, **kwargs)

    return forward


def _trains(engine: Any, meter: Meter) -> bool:
    # engine.train() only passes the mode on to its module; the engine's own flag stays True.
    training = engine.__dict__["_modules"]["module"].training or meter.trains_in_eval_mode
    return bool(training and meter.grad_enabled())


def _backward(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def backward(self: Any, loss: Any = None, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is not None and probe.watching:
            begun = perf_counter()
            try:
                meter = meter_of(self, probe)
                if meter is not None and not meter.pipeline:
                    trained(self, meter)
                    meter.activations.backward()
                    meter.mean_loss = bool(kwargs.get("scale_wrt_gas", args[1] if len(args) > 1 else True))
                    meter.readings.loss(loss)
                    meter.cost += perf_counter() - begun
            except Exception:  # the workload must not see a fault of ours
                probe.failed()
        if loss is None:
            return original(self, *args, **kwargs)
        return original(self, loss, *args, **kwargs)

    return backward


def _boundary(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def take_model_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        for work in getattr(self.__dict__.get(ATTRIBUTE), "at_step", ()):
            work(self)
        probe = SLOT.probe
        if probe is not None and probe.watching:
            begun = perf_counter()
            try:
                meter = meter_of(self, probe)
                if meter is not None:
                    meter.boundary(self)
                    meter.settle(begun)
            except Exception:  # the workload must not see a fault of ours
                probe.failed()
        return result

    return take_model_step


def _eval(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def evaluate(self: Any, *args: Any, **kwargs: Any) -> Any:
        mode_changed(self.__dict__.get(ATTRIBUTE), training=False)
        return original(self, *args, **kwargs)

    return evaluate


def _train(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def train(self: Any, mode: bool = True) -> Any:
        mode_changed(self.__dict__.get(ATTRIBUTE), training=mode)
        return original(self, mode)

    return train
