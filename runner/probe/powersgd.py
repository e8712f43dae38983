"""PowerSGD (Vogels, Karimireddy, Jaggi 2019) by torch's own hook, in place of DeepSpeed's dense all-reduce.

DeepSpeed reduces its gradients at stage 0 through ``engine.allreduce_bucket``. torch's ``powerSGD_hook`` asks
its bucket for little enough that ``Bucket`` can stand in for DDP's. The hook averages over the group, so
DeepSpeed's own scaling is not applied again. One PowerSGDState serves one process group and one dtype.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

from flyball.runner.probe.collectives import COUNTS
from flyball.runner.probe.meter import Meter
from flyball.runner.probe.watch import Probe

DEFAULT_RANK = 1
DEFAULT_START_STEP = 2
DEFAULT_MIN_COMPRESSION = 2.0
WITNESS_STEPS = 100


def compress_gradients(probe: Probe, engine: Any, meter: Meter, options: Any) -> None:
    """Put PowerSGD into an engine, or witness why it cannot act there."""
    refusal = unfit(engine)
    if refusal:
        probe.say("witness", knob="powersgd", value={"compressing": False, "reason": refusal})
        return
    compressor = Compressor(engine, options if isinstance(options, Mapping) else {})
    engine.allreduce_bucket = compressor.allreduce_bucket
    meter.at_step.append(compressor.boundary)
    witness = Witness(probe, meter, compressor)
    meter.at_boundary.append(witness.boundary)


def unfit(engine: Any) -> str | None:
    """Why an engine's gradients do not pass through ``allreduce_bucket``, or None when they do."""
    if int(engine.zero_optimization_stage()) != 0:
        return "PowerSGD acts at ZeRO stage 0 only"
    if int(engine.dp_world_size) < 2:
        return "there is one data-parallel rank: nothing to reduce"
    return None


class Bucket:
    """What ``powerSGD_hook`` asks of a DDP bucket: a flat gradient [N] and its matrices, which are views of
    it.
    """

    def __init__(self, flat: Any, matrices: list[Any], index: tuple[Any, ...]) -> None:
        self._flat, self._matrices, self._index = flat, matrices, index

    def buffer(self) -> Any:
        """The flat gradient, reduced in place."""
        return self._flat

    def index(self) -> tuple[Any, ...]:
        """The same for the same gradients at every step: it keys the error, P and Q."""
        return self._index

    def gradients(self) -> list[Any]:
        """The matrices to compress."""
        return self._matrices

    def parameters(self) -> list[Any]:
        """As many as there are gradients."""
        return self._matrices

    def is_last(self) -> bool:
        """Never: the compressor ends the step itself, when it knows which bucket was the last."""
        return False


class CountingDistributed:
    """torch.distributed as the hook sees it, counting the bytes of its all-reduces."""

    def __init__(self, distributed: Any) -> None:
        self._distributed = distributed
        self.bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._distributed, name)

    def all_reduce(self, tensor: Any, *args: Any, **kwargs: Any) -> Any:
        """Count, then reduce."""
        self.bytes += tensor.nbytes
        counted = COUNTS.bytes
        counted["all_reduce"] = counted.get("all_reduce", 0) + tensor.nbytes
        return self._distributed.all_reduce(tensor, *args, **kwargs)


class Compressor:
    """One engine's PowerSGD: the states by group and dtype, and what a step may have to take back."""

    def __init__(self, engine: Any, options: Mapping[str, Any]) -> None:
        from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

        self.engine = engine
        self.rank = int(options.get("rank", DEFAULT_RANK))
        self.start_step = max(2, int(options.get("start_step", DEFAULT_START_STEP)))
        self.min_compression = float(options.get("min_compression", DEFAULT_MIN_COMPRESSION))
        self.torch = sys.modules["torch"]
        self.states: dict[Any, Any] = {}
        self.shapes: dict[Any, list[Any]] = {}
        self.buckets: dict[Any, int] = {}
        self.saved: dict[Any, Snapshot] = {}
        self.scale = loss_scale(engine)
        self.dense_bytes = 0
        self.last_step = (0, 0)
        """``(compressed, dense)`` bytes of the step that ended last."""
        self._module = powerSGD_hook
        self.counter = CountingDistributed(self.torch.distributed)
        # These modules serve DDP hooks alone, so nothing else sees the substitution.
        powerSGD_hook.dist = default_hooks.dist = self.counter

    def allreduce_bucket(self, bucket: list[Any], dp_group: Any, dp_world_size: float | None = None) -> Any:
        """Average the gradients of one bucket; returns them flat [N], as DeepSpeed's own method does."""
        if not self.buckets:
            self._begin_step()
        flat = self.engine.flatten(bucket)
        sent = flat.to(self.engine.communication_data_type)
        self.dense_bytes += sent.nbytes
        state = self._state(dp_group, sent.dtype)
        self._module.powerSGD_hook(state, self._bucket(state, dp_group, sent, bucket)).wait()
        size = self.torch.distributed.get_world_size(dp_group)
        factor = size / (dp_world_size or size) if self.engine.gradient_average else size
        if factor != 1:
            sent.mul_(factor)
        if sent is not flat:
            flat.copy_(sent)
        return flat

    def _state(self, group: Any, dtype: Any) -> Any:
        key = (group, dtype)
        if key not in self.states:
            self.states[key] = self._module.PowerSGDState(
                process_group=group,
                matrix_approximation_rank=self.rank,
                start_powerSGD_iter=self.start_step,
                min_compression_rate=self.min_compression,
                orthogonalization_epsilon=epsilon(self.torch, dtype),
                batch_tensors_with_same_shape=True,
            )
        return self.states[key]

    def _bucket(self, state: Any, group: Any, flat: Any, tensors: list[Any]) -> Bucket:
        place = (group, flat.dtype)
        number = self.buckets.get(place, 0)
        self.buckets[place] = number + 1
        key = (*place, number)
        shapes = [tensor.shape for tensor in tensors]
        if self.shapes.setdefault(key, shapes) != shapes:
            # Other gradients than before under this number: what was remembered fits them no more.
            self.shapes[key] = shapes
            for memory in (state.error_dict, state.p_memory_dict, state.q_memory_dict):
                memory.pop(key, None)
        return Bucket(flat, list(matrices(flat, shapes, self.rank)), key)

    def _begin_step(self) -> None:
        scale = loss_scale(self.engine)
        if scale != self.scale:
            # The error is a gradient, in units of the loss scale that it was made under.
            for state in self.states.values():
                for error in state.error_dict.values():
                    error.mul_(scale / self.scale)
            self.scale = scale
        self.saved = {key: Snapshot(state) for key, state in self.states.items()}

    def boundary(self, engine: Any) -> None:
        """Close the step that the engine has just made."""
        self.last_step = self.end_step(applied=bool(getattr(engine, "_step_applied", True)))

    def end_step(self, *, applied: bool) -> tuple[int, int]:
        """Close the step; return its ``(compressed, dense)`` bytes.

        A step that the optimizer skipped carried an infinite gradient: its error, P and Q are taken back, or
        NaN would stay in them for good.
        """
        for key, state in self.states.items():
            if not applied:
                self.saved.get(key, NOTHING).restore(state)
            state.iter += 1
        sent, dense = self.counter.bytes, self.dense_bytes
        self.counter.bytes = self.dense_bytes = 0
        self.buckets = {}
        self.saved = {}
        return sent, dense

    @property
    def started(self) -> bool:
        """Whether the hook has left its dense first steps behind."""
        return any(state.iter > self.start_step for state in self.states.values())


class Snapshot:
    """A state's memory before a step. The hook replaces the error and rewrites P and Q in place."""

    def __init__(self, state: Any | None) -> None:
        self.error = dict(state.error_dict) if state is not None else {}
        self.p = (
            {key: tensor.clone() for key, tensor in state.p_memory_dict.items()} if state is not None else {}
        )
        self.q = (
            {key: tensor.clone() for key, tensor in state.q_memory_dict.items()} if state is not None else {}
        )

    def restore(self, state: Any) -> None:
        """Put it back; what the step has made anew is forgotten."""
        state.error_dict, state.p_memory_dict, state.q_memory_dict = self.error, self.p, self.q


NOTHING = Snapshot(None)


class Witness:
    """Reports the bytes a step: when compression begins or ceases, and now and then in between."""

    def __init__(self, probe: Probe, meter: Meter, compressor: Compressor) -> None:
        self.probe, self.meter, self.compressor = probe, meter, compressor
        self.reported: tuple[bool, int] | None = None

    def boundary(self, engine: Any) -> None:
        """Write what the compressor's last step proves."""
        sent, dense = self.compressor.last_step
        if not self.compressor.started or not dense:
            return
        compressing = sent < dense
        due = self.reported is None or self.reported[0] != compressing
        if due or (self.reported is not None and self.meter.step - self.reported[1] >= WITNESS_STEPS):
            self.reported = (compressing, self.meter.step)
            value = {"compressed_bytes": sent, "dense_bytes": dense, "compressing": compressing}
            self.probe.say("witness", knob="powersgd", step=self.meter.step, value=value)


def matrices(flat: Any, shapes: list[Any], rank: int) -> Iterator[Any]:
    """Views of ``flat`` [N], one matrix each; stacked experts [E, I, O] become E matrices where that sends
    less.
    """
    offset = 0
    for shape in shapes:
        tensor = flat[offset : offset + shape.numel()].view(shape)
        offset += shape.numel()
        if len(shape) == 3 and split_sends_less(*shape, rank=rank):
            yield from tensor.unbind(0)
        elif len(shape) == 0:
            yield tensor.view(1)
        else:
            yield tensor


def split_sends_less(experts: int, rows: int, columns: int, *, rank: int) -> bool:
    """Whether [E, I, O] as E matrices [I, O] sends fewer elements at this rank than as one [E, I*O]."""
    whole = (experts + rows * columns) * min(rank, experts, rows * columns)
    return experts * (rows + columns) * min(rank, rows, columns) < whole


def epsilon(torch: Any, dtype: Any) -> float:
    """Keeps an all-zero column (an expert without tokens) from dividing by zero; must not vanish in
    ``dtype``.
    """
    return 1e-6 if dtype == torch.float16 else 1e-8


def loss_scale(engine: Any) -> float:
    """The factor in the gradients of this step; 1 where there is no loss scaling."""
    optimizer = engine.optimizer
    config = getattr(optimizer, "loss_scale_config", None)
    scale = getattr(config, "cur_scale", None) or getattr(optimizer, "cur_scale", None) or 1.0
    return float(scale)
