"""Panels of the Fleet dashboard about GPUs."""

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from grafana.frame import Panel
from grafana.panels import BAD, GOOD, Limit, Query, lines, states
from grafana.query import most, rate, select, total
from grafana.tables import Column, rows

HOST = "=~$host"
GPU = "host, gpu"
NAME = "{{host}} GPU {{gpu}}"
LOW_SM_UTILIZATION = 0.70
"""Below this while a run steps, the default policy raises its alert."""


def gauge(metric: Metric) -> str:
    """A gauge of each GPU on the chosen hosts."""
    return most(GPU, select(metric, host=HOST))


def panels() -> list[Panel]:
    """What each GPU does."""
    return [*utilization(), *resources(), *traffic()]


def utilization() -> list[Panel]:
    """Used, and only busy."""
    sm, busy = gauge(catalog.GPU_SM_UTILIZATION), gauge(catalog.GPU_BUSY)
    return [
        lines(
            "SM utilization",
            "Fraction of SM cycles with at least one warp resident (GPM or DCGM). The dashed line is the "
            "limit of the default policy, which holds while a run steps.",
            "percentunit",
            Query(expression=sm, legend=NAME),
            limit=Limit(value=LOW_SM_UTILIZATION, below=True),
            top=1,
        ),
        lines(
            "Busy",
            "Fraction of time in which any kernel ran (nvidia-smi's GPU-Util). It says nothing of how many "
            "SMs worked: a stream of tiny kernels is busy and leaves the GPU idle.",
            "percentunit",
            Query(expression=busy, legend=NAME),
            top=1,
        ),
        lines(
            "Busy without work",
            "Busy less SM utilization. High values: kernels too small or too few; larger micro batches, "
            "fused kernels or compilation help.",
            "percentunit",
            Query(expression=f"clamp_min({busy} - {sm}, 0)", legend=NAME),
            top=1,
        ),
        lines(
            "SM occupancy",
            "Resident warps over the most that the SMs can hold.",
            "percentunit",
            Query(expression=gauge(catalog.GPU_SM_OCCUPANCY), legend=NAME),
            top=1,
        ),
        lines(
            "Tensor cores active",
            "Fraction of cycles in which a tensor core was active: low in a run of matrix products means "
            "that they wait for memory or for other ranks.",
            "percentunit",
            Query(expression=gauge(catalog.GPU_TENSOR_ACTIVE), legend=NAME),
            top=1,
        ),
        lines(
            "Memory bandwidth",
            "Device memory bandwidth in use over the most there is.",
            "percentunit",
            Query(expression=gauge(catalog.GPU_DRAM_BANDWIDTH), legend=NAME),
            top=1,
        ),
    ]


def resources() -> list[Panel]:
    """Memory, power, heat and clocks."""
    used, size = gauge(catalog.GPU_MEMORY_USED), gauge(catalog.GPU_MEMORY_TOTAL)
    joules = most(GPU, f"increase({select(catalog.GPU_ENERGY, host=HOST)}[$__range])")
    return [
        lines(
            "Memory used",
            "Device memory in use over all there is. flyball recommends nothing that reserves more than 90%.",
            "percentunit",
            Query(expression=f"{used} / {size}", legend=NAME),
            limit=Limit(value=0.90),
            top=1,
        ),
        lines(
            "Power",
            "Power drawn. Power far below the limit while busy is a sign of waiting.",
            "watt",
            Query(expression=gauge(catalog.GPU_POWER), legend=NAME),
        ),
        lines(
            "Temperature",
            "Temperature of the GPU's die. Above 85 degrees most cards slow down or are about to.",
            "celsius",
            Query(expression=gauge(catalog.GPU_TEMPERATURE), legend=NAME),
            limit=Limit(value=85),
        ),
        lines(
            "SM clock",
            "Clock of the SMs. Ranks with lower clocks than their peers hold the whole run back.",
            "hertz",
            Query(expression=gauge(catalog.GPU_SM_CLOCK), legend=NAME),
            width=12,
        ),
        rows(
            "GPUs now",
            "Each GPU by name, and the energy it drew in the time shown.",
            ["host", "gpu"],
            [
                Column(title="SM", expression=gauge(catalog.GPU_SM_UTILIZATION), unit="percentunit"),
                Column(title="busy", expression=gauge(catalog.GPU_BUSY), unit="percentunit"),
                Column(title="memory", expression=used, unit="bytes"),
                Column(title="of", expression=size, unit="bytes"),
                Column(title="energy", expression=joules, unit="joule"),
            ],
            width=12,
        ),
    ]


def traffic() -> list[Panel]:
    """What goes over the links."""
    return [
        _both_ways(
            "PCIe",
            "Bytes a second over PCIe, from GPM: to the host, its memory and its network cards.",
            catalog.GPU_PCIE_RECEIVED,
            catalog.GPU_PCIE_SENT,
        ),
        _both_ways(
            "NVLink",
            "Bytes a second over all NVLinks of a GPU. Empty where the card has none.",
            catalog.GPU_NVLINK_RECEIVED,
            catalog.GPU_NVLINK_SENT,
        ),
    ]


def _both_ways(title: str, description: str, received: Metric, sent: Metric) -> Panel:
    return lines(
        title,
        description,
        "Bps",
        Query(expression=gauge(received), legend=f"{NAME} received"),
        Query(expression=gauge(sent), legend=f"{NAME} sent"),
        width=12,
    )


def faults() -> list[Panel]:
    """What holds a GPU back or breaks it."""
    throttled = most("host, gpu, reason", select(catalog.GPU_THROTTLED, host=HOST))
    xid = most("host, gpu, xid", select(catalog.GPU_XID_ERRORS, host=HOST)) + " > 0"
    ecc = most("host, gpu, kind", select(catalog.GPU_ECC_ERRORS, host=HOST)) + " > 0"
    new = total("host", rate(catalog.GPU_XID_ERRORS, "host, uuid, xid", host=HOST))
    return [
        states(
            "Throttling",
            "When the driver held the clocks down, and why. Heat and hardware slowdown ask for a look at "
            "the machine; a power cap may be wanted.",
            Query(expression=f"{throttled} == 1", legend="{{host}} GPU {{gpu}} {{reason}}"),
            {0: ("no", GOOD), 1: ("throttled", BAD)},
        ),
        rows(
            "XID events",
            "Errors that the driver reported since the agent started, by NVIDIA's code. 48, 63, 64, 74, 79, "
            "94 and 95 mean hardware: drain the host.",
            ["host", "gpu", "xid"],
            [Column(title="events", expression=xid)],
            width=8,
        ),
        lines(
            "XID events a second",
            "When the events came, by host.",
            "eps",
            Query(expression=new, legend="{{host}}"),
        ),
        rows(
            "ECC errors",
            "Errors of device memory since the driver was loaded. Corrected ones cost nothing until they "
            "grow fast; uncorrected ones end the process.",
            ["host", "gpu", "kind"],
            [Column(title="errors", expression=ecc)],
            width=8,
        ),
    ]
