"""Whether NVML, its GPM counters and the clocks are in order now; no NVMLError leaves this file."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import pynvml

from flyball.collectors.base import CollectorFailed, Unavailable
from flyball.collectors.nvml_device import THROTTLING, clocks_event_reasons
from flyball.collectors.nvml_faults import ask

_CHOSEN = ("applications_clocks_setting", "sync_boost", "display_clock_setting")
"""Somebody set the clocks so: no fault of the machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuHealth:
    """One GPU."""

    index: int
    name: str
    gpm: Unavailable | None
    """Why its counters cannot be read; None where they can."""
    throttled: tuple[str, ...]
    """What holds its clocks down now, by NVML's names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NvmlHealth:
    """The driver and its GPUs."""

    driver: str
    gpus: tuple[GpuHealth, ...]
    lost: tuple[tuple[int, Unavailable], ...] = ()
    """GPUs that do not answer, by index."""


def nvml_health(nvml: Any = pynvml) -> NvmlHealth:
    """Ask the driver.

    Args:
        nvml: the ``pynvml`` module of nvidia-ml-py, or what stands in for it.

    Raises:
        CollectorFailed: NVML cannot be used at all.
    """
    started = ask(nvml, nvml.nvmlInit)
    if isinstance(started, Unavailable):
        raise CollectorFailed(started.reason, started.detail)
    try:
        return _health(nvml)
    finally:
        ask(nvml, nvml.nvmlShutdown)


def _health(nvml: Any) -> NvmlHealth:
    driver, count = ask(nvml, nvml.nvmlSystemGetDriverVersion), ask(nvml, nvml.nvmlDeviceGetCount)
    if isinstance(count, Unavailable):
        raise CollectorFailed(count.reason, count.detail)
    gpus: list[GpuHealth] = []
    lost: list[tuple[int, Unavailable]] = []
    for index in range(count):
        handle = ask(nvml, partial(nvml.nvmlDeviceGetHandleByIndex, index))
        if isinstance(handle, Unavailable):
            lost.append((index, handle))
        else:
            gpus.append(_gpu(nvml, index, handle))
    return NvmlHealth(driver=_text(driver), gpus=tuple(gpus), lost=tuple(lost))


def _gpu(nvml: Any, index: int, handle: Any) -> GpuHealth:
    found = ask(nvml, lambda: clocks_event_reasons(nvml, handle))
    bits = 0 if isinstance(found, Unavailable) else found
    return GpuHealth(
        index=index,
        name=_text(ask(nvml, lambda: nvml.nvmlDeviceGetName(handle))),
        gpm=ask(nvml, lambda: _try_gpm(nvml, handle)),
        throttled=tuple(name for name, bit in THROTTLING.items() if bits & bit and name not in _CHOSEN),
    )


def _try_gpm(nvml: Any, handle: Any) -> Unavailable | None:
    if not nvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
        return Unavailable(reason="gpm_not_supported", detail="GPM needs a Hopper GPU or a later one")
    sample = nvml.nvmlGpmSampleAlloc()
    try:
        nvml.nvmlGpmSampleGet(handle, sample)
    finally:
        ask(nvml, lambda: nvml.nvmlGpmSampleFree(sample))
    return None


def _text(value: str | bytes | Unavailable) -> str:
    if isinstance(value, Unavailable):
        return f"unknown ({value.reason})"
    return value.decode() if isinstance(value, bytes) else value
