"""Counts the bytes that DeepSpeed hands to its collectives, and times those that return when they are done.

Counted is the payload of this rank's call: the tensor for all_reduce, broadcast, reduce, send and recv; the
larger side (the gathered or the unreduced one) for all_gather, reduce_scatter, gather and scatter; the input
for all_to_all. A group of one rank moves nothing and counts nothing.

Timed are synchronous calls on CPU tensors. Such a time holds the waiting for late peers: from one side it
cannot be told from transfer. ``send`` is not timed, as it returns once the kernel has the message; ``recv``
stands for the message. An asynchronous call returns a handle of torch's own that cannot be wrapped without
taking its place, and is left out; so is every call on a device.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

from flyball.runner.probe.latency import LATENCIES
from flyball.runner.probe.watch import SLOT

PAYLOAD = {
    "all_reduce": (0, "tensor"),
    "inference_all_reduce": (0, "tensor"),
    "all_reduce_coalesced": (0, "tensors"),
    "broadcast": (0, "tensor"),
    "reduce": (0, "tensor"),
    "reduce_scatter": (1, "input_list"),
    "reduce_scatter_tensor": (1, "input_tensor"),
    "all_gather": (0, "tensor_list"),
    "all_gather_into_tensor": (0, "output_tensor"),
    "all_gather_base": (0, "output_tensor"),
    "all_gather_coalesced": (0, "output_tensors"),
    "all_to_all_single": (1, "input"),
    "all_to_all": (1, "input_tensor_list"),
    "gather": (1, "gather_list"),
    "scatter": (1, "scatter_list"),
    "send": (0, "tensor"),
    "recv": (0, "tensor"),
    "isend": (0, "tensor"),
    "irecv": (0, "tensor"),
}
"""Method of DeepSpeed's backend to the place and name of the argument that is counted."""
UNTIMED = ("send", "isend", "irecv")


class Counts:
    """Bytes by op since they were last taken, and what counting cost."""

    __slots__ = ("bytes", "cost", "group_sizes")

    def __init__(self) -> None:
        self.bytes: dict[str, int] = {}
        self.cost = 0.0
        self.group_sizes: dict[Any, int] = {}

    def add(self, op: str, payload: Any, group: Any, size_of: Callable[[Any], int]) -> int:
        """Count one call; return the bytes that it moves."""
        size = self.group_sizes.get(group)
        if size is None:
            size = self.group_sizes[group] = size_of(group)
        if size <= 1:
            return 0
        moved = payload_bytes(payload)
        self.bytes[op] = self.bytes.get(op, 0) + moved
        return moved

    def take(self) -> str:
        """The counts as JSON; they start again at nothing."""
        text = "{" + ",".join(f'"{op}":{count}' for op, count in self.bytes.items()) + "}"
        self.bytes.clear()
        return text

    def take_cost(self) -> float:
        """Seconds spent counting since the last call."""
        cost, self.cost = self.cost, 0.0
        return cost

    def clear(self) -> None:
        """Forget everything, groups included: a new activation."""
        self.bytes.clear()
        self.group_sizes.clear()
        self.cost = 0.0


COUNTS = Counts()


def payload_bytes(payload: Any) -> int:
    """Bytes of a tensor or of a list of them; 0 for what a rank that is not the root passes."""
    if payload is None:
        return 0
    if isinstance(payload, (list, tuple)):
        return sum(map(payload_bytes, payload))
    return int(payload.nbytes)


def on_cpu(payload: Any) -> bool:
    """Whether a tensor, or the first of a list of them, is in host memory."""
    first = payload[0] if isinstance(payload, (list, tuple)) else payload
    return bool(first.is_cpu)


def watch_backend(backend: Any, module: Any) -> None:
    """Wrap the collectives of DeepSpeed's TorchBackend class; a second call changes nothing."""
    if backend.__dict__.get("_flyball_counted"):
        return
    backend._flyball_counted = True
    # Traced into a compiled graph, the counting would be a side effect that dynamo guards on.
    untraced = getattr(module, "disable_compiler_collective", None) or (lambda function: function)
    for op, (place, name) in PAYLOAD.items():
        original = backend.__dict__.get(op)
        if callable(original):
            setattr(backend, op, untraced(_counted(op, original, place, name)))


def argument_place(method: Callable[..., Any], name: str) -> int:
    """Where a method takes an argument after ``self``; past all of them if it has none of that name.

    DeepSpeed's ``stage_on_cpu`` hides a signature behind ``*args`` and keeps the method in its closure.
    """
    names = list(inspect.signature(method).parameters)
    if name in names:
        return names.index(name) - 1
    inner = inspect.getclosurevars(method).nonlocals.get("func") if inspect.isfunction(method) else None
    return argument_place(inner, name) if callable(inner) else sys.maxsize


def _counted(op: str, original: Callable[..., Any], place: int, name: str) -> Callable[..., Any]:
    group_at, async_at = argument_place(original, "group"), argument_place(original, "async_op")
    src_at = argument_place(original, "src") if op == "recv" else sys.maxsize
    can_be_timed = op not in UNTIMED

    def count(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Count a call; return its bytes where its time will say something."""
        payload = kwargs[name] if name in kwargs else args[place]
        group = args[group_at] if len(args) > group_at else kwargs.get("group")
        moved = COUNTS.add(op, payload, group, self.get_world_size)
        if not moved or not can_be_timed or not on_cpu(payload):
            return 0
        waits = not (args[async_at] if len(args) > async_at else kwargs.get("async_op"))
        return moved if waits else 0

    def observe(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any], moved: int, seconds: float) -> None:
        if op != "recv":
            LATENCIES.collective(op, moved, "timed", seconds)
            return
        src = args[src_at] if len(args) > src_at else kwargs.get("src")
        if src is not None:
            LATENCIES.message(src, self.get_rank(), moved, "timed", seconds)

    @functools.wraps(original)
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        probe = SLOT.probe
        if probe is None or not probe.watching:
            return original(self, *args, **kwargs)
        begun = perf_counter()
        moved = probe.safely(count, self, args, kwargs)
        called = perf_counter()
        COUNTS.cost += called - begun
        result = original(self, *args, **kwargs)
        if moved:
            returned = perf_counter()
            probe.safely(observe, self, args, kwargs, moved, returned - called)
            COUNTS.cost += perf_counter() - returned
        return result

    return counted
