"""GPUs from samples."""

from collections.abc import Iterable, Mapping
from typing import Final

from flyball.agent.top.reasons import Reasons
from flyball.agent.top.view import GpuView
from flyball.collectors import catalog
from flyball.collectors.base import Metric, Sample, Unavailable

_WIDTH = len(catalog.GPU_LABELS)
_NUMBERS: Final[Mapping[Metric, tuple[str, str]]] = {
    catalog.GPU_SM_UTILIZATION: ("sm_utilization_ratio", "SM"),
    catalog.GPU_TENSOR_ACTIVE: ("tensor_active_ratio", "tensor"),
    catalog.GPU_BUSY: ("busy_ratio", "busy"),
    catalog.GPU_MEMORY_USED: ("memory_used_bytes", "memory"),
    catalog.GPU_MEMORY_TOTAL: ("memory_total_bytes", "memory"),
    catalog.GPU_POWER: ("power_watts", "power"),
    catalog.GPU_TEMPERATURE: ("temperature_celsius", "temperature"),
    catalog.GPU_SM_CLOCK: ("sm_clock_hertz", "clock"),
    catalog.GPU_PCIE_RECEIVED: ("pcie_rx_bytes_per_second", "PCIe"),
    catalog.GPU_PCIE_SENT: ("pcie_tx_bytes_per_second", "PCIe"),
    catalog.GPU_NVLINK_RECEIVED: ("nvlink_rx_bytes_per_second", "NVLink"),
    catalog.GPU_NVLINK_SENT: ("nvlink_tx_bytes_per_second", "NVLink"),
}
"""Metrics of one value a GPU: the field of GpuView, and what the view calls it."""
_FROM_GPM: Final = {"SM", "tensor", "PCIe", "NVLink"}
_OTHERS: Final[Mapping[Metric, str]] = {
    catalog.GPU_THROTTLED: "throttling",
    catalog.GPU_XID_ERRORS: "XID errors",
    catalog.GPU_ECC_ERRORS: "ECC errors",
}


def gpu_views(samples: Iterable[Sample], reasons: Reasons) -> tuple[GpuView, ...]:
    """All GPUs by index, and why something of them is not known."""
    gpus: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        if sample.metric.labels[:_WIDTH] == catalog.GPU_LABELS:
            gpus.setdefault((sample.label("gpu"), sample.label("uuid")), []).append(sample)
    return tuple(_gpu(*key, gpus[key], reasons) for key in sorted(gpus, key=_place))


def _place(key: tuple[str, str]) -> tuple[list[int], str, str]:
    numbers = [int(part) for part in key[0].split("/") if part.isdecimal()]
    return numbers, *key


def _gpu(gpu: str, uuid: str, samples: list[Sample], reasons: Reasons) -> GpuView:
    values: dict[str, float | None] = dict.fromkeys((field for field, _ in _NUMBERS.values()), None)
    told = set()
    where = f"GPU {gpu}" if gpu else "a GPU"
    for sample in samples:
        field, name = _NUMBERS.get(sample.metric, ("", _OTHERS.get(sample.metric, "")))
        if isinstance(sample.value, Unavailable) and name:
            reasons.note(sample.value.reason, what=name, where=where, detail=sample.value.detail)
            told.add(name)
        elif field and isinstance(sample.value, int | float):
            values[field] = float(sample.value)
            told.add(name)
    if any(not isinstance(sample.value, Unavailable) for sample in samples):  # else it is lost
        _note_untold(gpu, told, reasons)
    return GpuView(
        gpu=gpu,
        uuid=uuid,
        throttled=_throttled(samples),
        xid_errors=_counts(samples, catalog.GPU_XID_ERRORS, "xid"),
        ecc_errors=_counts(samples, catalog.GPU_ECC_ERRORS, "kind"),
        **values,
    )


def _note_untold(gpu: str, told: set[str], reasons: Reasons) -> None:
    """A rate needs two readings; power, clocks and the like belong to the whole GPU."""
    for name in dict.fromkeys(name for _, name in _NUMBERS.values()):
        if name in told:
            continue
        if name in _FROM_GPM:
            reasons.note("being_read", what=name, where=f"GPU {gpu}", detail="a rate needs two readings")
        elif "/" in gpu:
            detail = "an instance has none of its own: see its GPU"
            reasons.note("mig_instance", what=name, where=f"GPU {gpu}", detail=detail)
        else:
            reasons.note("not_read", what=name, where=f"GPU {gpu}")


def _throttled(samples: list[Sample]) -> tuple[str, ...] | None:
    known = [
        sample
        for sample in samples
        if sample.metric is catalog.GPU_THROTTLED and not isinstance(sample.value, Unavailable)
    ]
    return tuple(sample.label("reason") for sample in known if sample.value) if known else None


def _counts(samples: list[Sample], metric: Metric, label: str) -> dict[str, int]:
    return {
        sample.label(label): int(sample.value)
        for sample in samples
        if sample.metric is metric and isinstance(sample.value, int | float) and sample.value
    }
