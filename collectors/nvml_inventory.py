"""Which NVIDIA GPUs a machine has, by NVML; no NVMLError leaves this file."""

import contextlib
from dataclasses import dataclass
from typing import Any

import pynvml


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One GPU."""

    name: str
    memory_bytes: int
    uuid: str
    driver: str
    """Version of the NVIDIA driver."""


def list_gpus(nvml: Any = pynvml) -> tuple[tuple[Gpu, ...], str | None]:
    """Return the machine's GPUs by index, or none and the reason.

    Args:
        nvml: the ``pynvml`` module of nvidia-ml-py, or what stands in for it.
    """
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return (), str(error)
    try:
        driver = _text(nvml.nvmlSystemGetDriverVersion())
        gpus = tuple(_gpu(nvml, index, driver) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        return (), str(error)
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return gpus, None if gpus else "the driver lists no GPU"


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuProcess:
    """One process that computes on a GPU."""

    pid: int
    gpu: str
    """Index of the GPU."""
    uuid: str


def list_gpu_processes(nvml: Any = pynvml) -> tuple[GpuProcess, ...]:
    """Return who computes on which GPU; none where NVML cannot be asked."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    found: list[GpuProcess] = []
    try:
        for index in range(nvml.nvmlDeviceGetCount()):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = _text(nvml.nvmlDeviceGetUUID(handle))
            for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle):
                found.append(GpuProcess(pid=int(process.pid), gpu=str(index), uuid=uuid))
    except nvml.NVMLError:
        return tuple(found)
    finally:
        with contextlib.suppress(nvml.NVMLError):
            nvml.nvmlShutdown()
    return tuple(found)


def _gpu(nvml: Any, index: int, driver: str) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    return Gpu(
        name=_text(nvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(handle).total),
        uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
        driver=driver,
    )


def _text(value: str | bytes) -> str:
    # Older versions of nvidia-ml-py return bytes.
    return value.decode() if isinstance(value, bytes) else value
