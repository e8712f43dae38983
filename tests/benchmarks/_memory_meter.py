"""Peaks of a device's memory: the caching allocator's on CUDA, those of live tensors elsewhere."""

import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Peaks(NamedTuple):
    """Bytes at most, since the last reset."""

    allocated: int
    reserved: int


class MemoryMeter(Protocol):
    """Measures within a ``with`` block."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *exception: Any) -> Any: ...

    def reset(self) -> None:
        """Begin a new stretch."""
        ...

    def allocated(self) -> int:
        """Bytes of live tensors now."""
        ...

    def peaks(self) -> Peaks:
        """The peaks of this stretch."""
        ...


class CudaMeter:
    """The caching allocator's own counters.

    Args:
        limit_bytes: what the allocator may reserve at most.
    """

    def __init__(self, limit_bytes: int) -> None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, limit_bytes / total))

    def __enter__(self) -> "CudaMeter":
        self.reset()
        return self

    def __exit__(self, *exception: Any) -> None:
        pass

    def reset(self) -> None:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()

    def allocated(self) -> int:
        return int(torch.cuda.memory_allocated())

    def peaks(self) -> Peaks:
        torch.cuda.synchronize()
        return Peaks(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())


class LiveTensors(TorchDispatchMode):  # type: ignore[misc]
    """Counts the storages that operations return until they are freed; reserved is what is allocated.

    Workspaces inside an operation are not seen.

    Args:
        limit_bytes: more live bytes than this are out of memory.
    """

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit = limit_bytes
        self._live: dict[int, int] = {}
        self._now = self._peak = 0

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, torch.Tensor) and each.device.type == "cpu":
                self._note(each.untyped_storage())
        return result

    def _note(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._live:
            return
        self._live[key] = size
        self._now += size
        self._peak = max(self._peak, self._now)
        weakref.finalize(storage, self._forget, key)
        if self._now > self._limit:
            raise torch.OutOfMemoryError(f"{self._now} bytes are live, the limit is {self._limit}")

    def _forget(self, key: int) -> None:
        self._now -= self._live.pop(key, 0)

    def reset(self) -> None:
        self._peak = self._now

    def allocated(self) -> int:
        return self._now

    def peaks(self) -> Peaks:
        return Peaks(self._peak, self._peak)


def meter_for(device: str, limit_bytes: int) -> MemoryMeter:
    """The meter of ``cuda`` or ``cpu``."""
    return CudaMeter(limit_bytes) if device == "cuda" else LiveTensors(limit_bytes)
