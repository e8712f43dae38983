"""How NVML names this host's GPUs, so that another source's readings are matched to them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pynvml

from flyball.collectors.base import CollectorFailed, Unavailable
from flyball.collectors.nvml_device import Device, instances
from flyball.collectors.nvml_faults import ask, reason_of


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalGpu:
    """A GPU of this host, or a MIG instance of one, under the labels that the collector ``nvml`` gives it."""

    gpu: str
    uuid: str
    board: str
    """UUID of the whole GPU: of a MIG instance the one that it is part of."""
    instance: int | None
    """GPU instance id of a MIG instance; None for a whole GPU."""
    has_gpm: bool
    """Whether NVML itself has its counters (Hopper and later)."""


def local_gpus(nvml: Any = pynvml) -> tuple[LocalGpu, ...]:
    """All that answer: GPUs that are cut into MIG instances are left out for their instances.

    Args:
        nvml: the ``pynvml`` module of nvidia-ml-py, or what stands in for it.

    Raises:
        CollectorFailed: NVML cannot be asked, or lists no GPU.
    """
    try:
        nvml.nvmlInit()
        try:
            found = tuple(_listed(nvml, int(nvml.nvmlDeviceGetCount())))
        finally:
            with contextlib.suppress(nvml.NVMLError):
                nvml.nvmlShutdown()
    except nvml.NVMLError as error:
        raise CollectorFailed(reason_of(int(getattr(error, "value", 999))), str(error)) from error
    if not found:
        raise CollectorFailed("no_gpu", "the driver lists no GPU that answers")
    return found


def _listed(nvml: Any, count: int) -> Iterator[LocalGpu]:
    for index in range(count):
        whole = _device(nvml, index)
        if whole is None:
            continue  # lost: that is the collector nvml's to say
        parts = list(instances(nvml, whole.handle, whole.gpu))
        support = ask(nvml, partial(_has_gpm, nvml, whole.handle))
        for device in parts or [whole]:
            yield LocalGpu(
                gpu=device.gpu,
                uuid=device.uuid,
                board=whole.uuid,
                instance=device.instance,
                has_gpm=support is True,
            )


def _has_gpm(nvml: Any, handle: Any) -> bool:
    return bool(nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice)


def _device(nvml: Any, index: int) -> Device | None:
    found = ask(nvml, lambda: Device(nvml, nvml.nvmlDeviceGetHandleByIndex(index), str(index)))
    return None if isinstance(found, Unavailable) else found
