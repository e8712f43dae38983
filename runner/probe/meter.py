"""Measures one engine: what entered forward between two step boundaries, and how long that took."""

from __future__ import annotations

import sys
import time
from time import monotonic, perf_counter
from typing import Any

from flyball.runner.probe.activations import KeptActivations
from flyball.runner.probe.budget import Budget
from flyball.runner.probe.collectives import COUNTS
from flyball.runner.probe.journal import encode, number
from flyball.runner.probe.latency import LATENCIES
from flyball.runner.probe.loss_scale import loss_scale, scales_loss
from flyball.runner.probe.stage_times import CudaTimes, HostTimes
from flyball.runner.probe.watch import Probe

ATTRIBUTE = "_flyball_meter"


class Meter:
    """Counters of one engine since the last record. Every method is called from a guarded hook."""

    def __init__(self, probe: Probe, engine: Any, number_: int, readings: Any, *, pipeline: bool) -> None:
        self.probe, self.engine_number, self.readings, self.pipeline = probe, number_, readings, pipeline
        self.device = str(engine.device)
        self.stage_times: HostTimes | CudaTimes | None = None
        """Of a pipeline's stage."""
        self.grad_enabled = sys.modules["torch"].is_grad_enabled
        settings = probe.settings
        self.interval = 1.0 / settings.max_records_per_second if settings.max_records_per_second > 0 else 0.0
        self.reads_memory = settings.memory
        self.budget = Budget(settings.budget_ratio)
        self.samples = self.tokens = self.forwards = 0
        """Fed since the last boundary."""
        self.step = self.count = self.skipped = 0
        self.step_samples = self.step_tokens = self.step_forwards = 0
        """Of the boundaries that the next record covers."""
        self.seconds = self.cost = self.paused = self.step_seconds = 0.0
        self.loss: tuple[int, float] | None = None
        self.mean_loss = True
        self.learning_rate: float | None = None
        self.scales_loss = scales_loss(engine)
        self.loss_scale: float | None = None
        self.told_loss_scale: float | None = None
        self.last = monotonic()
        self.emitted = 0.0
        self.held: tuple[float, float] | None = None
        self.phases: list[tuple[str, float]] = []
        self.trains_in_eval_mode = False
        self.activations = KeptActivations(probe, self)
        self.at_boundary: list[Any] = [self.activations.boundary]
        """Called with the engine after each boundary: the witnesses of the knobs."""
        self.at_first_step: list[Any] = []
        """Called after the first boundary alone."""
        self.at_step: list[Any] = []
        """The same, also once the probe has switched itself off: what a knob that is in place works by."""
        self.heartbeat: Any = None
        """Told of pauses, where a run may be started again."""

    def fed(self, samples: int, tokens: int) -> None:
        """One training forward."""
        self.samples += samples
        self.tokens += tokens
        self.forwards += 1

    def boundary(self, engine: Any) -> None:
        """The optimizer stepped, or skipped its step."""
        now = monotonic()
        if self.phases:
            # Whoever steps is not evaluating: the script trains a module that it left in eval mode.
            for phase, begun in self.phases:
                self._edge(phase, "end", seconds=now - begun)
                if self.heartbeat is not None:
                    self.heartbeat.end(phase)
            self.phases.clear()
        self.step_seconds = now - self.last - self.paused
        self.last, self.paused = now, 0.0
        self.step += 1
        self.count += 1
        self.seconds += self.step_seconds
        self.step_samples += self.samples
        self.step_tokens += self.tokens
        self.step_forwards += self.forwards
        self.samples = self.tokens = self.forwards = 0
        if not getattr(engine, "_step_applied", True):
            self.skipped += 1
        if self.scales_loss:
            # At each boundary: what the rate limit holds back may be written without the engine.
            self.loss_scale = loss_scale(engine)
        if self.step == 1:
            for first in self.at_first_step:
                first()
        for action in self.at_boundary:
            action(engine)
        self.held = (time.time(), now)
        if not self.pipeline:
            self.close(engine)

    def close(self, engine: Any) -> None:
        """Write the step, unless the last record is too young; a pipeline knows its loss only now."""
        if self.held is None:
            return
        self.readings.grad_norm(getattr(engine, "_global_grad_norm", None))
        known = self.readings.boundary(self.step, mean=self.mean_loss)
        if known is not None:
            self.loss = known
        if self.step == 1 or self.held[1] - self.emitted >= self.interval:
            self.learning_rate = learning_rate(engine)
            self.emit()

    def settle(self, begun: float) -> None:
        """Account what the hooks of this step cost, those of the boundary since ``begun`` included."""
        cost = self.cost + COUNTS.take_cost() + perf_counter() - begun
        self.cost = 0.0
        ratio = self.budget.add(cost, self.step_seconds)
        if ratio is not None:
            limit = self.budget.limit_ratio
            self.probe.off(f"its cost, {ratio:.2%} of the step time, passed its budget of {limit:.2%}")

    def emit(self) -> None:
        """Write the counters as one step record; by hand, since this is the hot path."""
        if self.held is None or not self.count:
            return
        wall, clock = self.held
        loss = self.loss
        line = (
            f'{{"kind":"step","time":{wall:.6f},"clock":{clock:.6f},"engine":{self.engine_number},'
            f'"step":{self.step},"count":{self.count},"seconds":{self.seconds:.9f},"samples":{self.step_samples},'
            f'"tokens":{self.step_tokens},"forwards":{self.step_forwards},"skipped":{self.skipped},'
            f'"loss":{number(loss[1]) if loss else "null"},"lr":{number(self.learning_rate)}'
        )
        if loss and loss[0] != self.step:
            line += f',"loss_step":{loss[0]}'
        norm = self.readings.known_grad_norm()
        if norm is not None:
            line += f',"grad_norm":{number(norm)}'
        if self.loss_scale != self.told_loss_scale and self.loss_scale is not None:
            self.told_loss_scale = self.loss_scale
            line += f',"loss_scale":{number(self.loss_scale)}'
        if self.reads_memory:
            line += ',"memory":' + self.readings.memory()
        if COUNTS.bytes:
            line += ',"communicated":' + COUNTS.take()
        device = self.readings.device_seconds()
        if device:
            line += f',"device_seconds":{device[1]:.9f},"device_step":{device[0]}'
        passes = self.stage_times.take() if self.stage_times is not None else None
        if passes:
            line += f',"pipeline_busy":{passes[0]:.9f},"pipeline_span":{passes[1]:.9f}'
        line += "}\n"
        self.probe.journal.write(line.encode())
        if LATENCIES.due(clock):
            self.communicate()
        self._clear()

    def communicate(self) -> None:
        """Write the histograms of communication, where anything was observed."""
        fields = LATENCIES.take(monotonic())
        if fields is not None:
            self.probe.journal.record("communication", engine=self.engine_number, **fields)

    def _clear(self) -> None:
        assert self.held is not None
        self.emitted = self.held[1]
        self.held = self.loss = None
        self.count = self.skipped = self.step_samples = self.step_tokens = self.step_forwards = 0
        self.seconds = 0.0

    def flush(self) -> None:
        """Write boundaries that the rate limit has held back."""
        if self.count:
            self.emit()

    def pause(self, phase: str, path: str | None = None) -> bool:
        """An evaluation or a checkpoint begins, its time is no step's; False when it had begun already."""
        if any(name == phase for name, _ in self.phases):
            return False
        self.flush()
        self.phases.append((phase, monotonic()))
        if self.heartbeat is not None:
            self.heartbeat.begin(phase)
        self._edge(phase, "begin", **({} if path is None else {"path": path}))
        return True

    def resume(self, phase: str) -> None:
        """It ends. A phase inside another one is part of it and is not subtracted twice."""
        found = [index for index, (name, _) in enumerate(self.phases) if name == phase]
        if not found:
            return
        _, begun = self.phases.pop(found[0])
        if self.heartbeat is not None:
            self.heartbeat.end(phase)
        seconds = monotonic() - begun
        if not self.phases:
            self.paused += seconds
        self._edge(phase, "end", seconds=seconds)

    def _edge(self, phase: str, edge: str, **fields: Any) -> None:
        fields = {"phase": phase, "edge": edge, "engine": self.engine_number, **fields}
        self.probe.journal.write(encode("pause", fields))


def learning_rate(engine: Any) -> float | None:
    """The first group's learning rate; None where it is a tensor, which may live on the device."""
    groups = getattr(engine.optimizer, "param_groups", None)
    rate = groups[0].get("lr") if groups else None
    return float(rate) if isinstance(rate, (int, float)) else None
