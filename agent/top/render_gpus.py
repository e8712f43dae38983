"""Draws the GPUs."""

from collections.abc import Iterator
from itertools import chain

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from flyball.agent.text import clean
from flyball.agent.top.cells import UNKNOWN, both_ways, describe_missing, number, of_total, percent
from flyball.agent.top.view import GpuView, View

_WITH_POWER = 66
_WITH_LIMITS = 76
_WITH_LINKS = 112


def gpu_part(view: View, width: int) -> Iterator[RenderableType]:
    """One row a GPU; errors beneath; one line where there is none."""
    if view.no_gpus is not None:
        yield Text(f"no GPU: {describe_missing(view.no_gpus)}")
        return
    if view.gpus:
        yield _table(view, width)
    for gpu in view.gpus:
        if gpu.xid_errors or gpu.ecc_errors:
            yield Text(f"! GPU {clean(gpu.gpu)}: {_errors(gpu)}", style="bold yellow")


def _errors(gpu: GpuView) -> str:
    xids = (f"XID {clean(xid)} {count}x" for xid, count in gpu.xid_errors.items())
    ecc = (f"{count} {clean(kind)} ECC errors" for kind, count in gpu.ecc_errors.items())
    return ", ".join(chain(xids, ecc))


def _table(view: View, width: int) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    titles = [">gpu", ">SM", ">busy", ">tensor", ">mem GiB"]
    titles += [">power", ">temp", ">MHz"] if width >= _WITH_POWER else []
    titles += [">PCIe MB/s in/out", ">NVLink MB/s in/out"] if width >= _WITH_LINKS else []
    titles += ["throttled by"] if width >= _WITH_LIMITS else []
    for title in titles:
        right = title.startswith(">")
        table.add_column(
            title.lstrip(">"), justify="right" if right else "left", no_wrap=True, overflow="ellipsis"
        )
    for gpu in view.gpus:
        cells = _cells(gpu, width)
        table.add_row(*(Text(cell) for cell in cells), style="yellow" if gpu.throttled else "")
    return table


def _cells(gpu: GpuView, width: int) -> Iterator[str]:
    yield clean(gpu.gpu) or UNKNOWN
    yield percent(gpu.sm_utilization_ratio)
    yield percent(gpu.busy_ratio)
    yield percent(gpu.tensor_active_ratio)
    yield of_total(gpu.memory_used_bytes, gpu.memory_total_bytes)
    if width >= _WITH_POWER:
        yield _unit(gpu.power_watts, "W")
        yield _unit(gpu.temperature_celsius, "C")
        yield number(None if gpu.sm_clock_hertz is None else gpu.sm_clock_hertz / 1e6).replace(",", "")
    if width >= _WITH_LINKS:
        yield both_ways(gpu.pcie_rx_bytes_per_second, gpu.pcie_tx_bytes_per_second)
        yield both_ways(gpu.nvlink_rx_bytes_per_second, gpu.nvlink_tx_bytes_per_second)
    if width >= _WITH_LIMITS:
        yield UNKNOWN if gpu.throttled is None else ", ".join(map(clean, gpu.throttled)) or "nothing"


def _unit(value: float | None, unit: str) -> str:
    return UNKNOWN if value is None else f"{value:.0f} {unit}"
