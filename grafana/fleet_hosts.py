"""Panels of the Fleet dashboard about hosts."""

from flyball.collectors import catalog
from flyball.collectors.base import Metric
from grafana.frame import Panel
from grafana.panels import Limit, Query, lines
from grafana.query import most, rate, select, total

HOST = "=~$host"


def panels() -> list[Panel]:
    """Processors, memory, disks and networks."""
    return [*inside(), *disks(), *networks()]


def inside() -> list[Panel]:
    """Processors and memory."""
    idle = total("host", rate(catalog.HOST_CPU, "host, mode", host=HOST, mode="=idle"))
    every = total("host", rate(catalog.HOST_CPU, "host, mode", host=HOST))
    available = most("host", select(catalog.HOST_MEMORY_AVAILABLE, host=HOST))
    size = most("host", select(catalog.HOST_MEMORY_TOTAL, host=HOST))
    return [
        lines(
            "Processors used",
            "Fraction of all CPUs' time that was not idle. A full one starves data loading and the launch "
            "of kernels.",
            "percentunit",
            Query(expression=f"1 - {idle} / {every}", legend="{{host}}"),
            limit=Limit(value=0.95),
            top=1,
            width=6,
        ),
        lines(
            "Load",
            "Load average of the last minute: processes that run or wait.",
            "short",
            Query(expression=most("host", select(catalog.HOST_LOAD, host=HOST)), legend="{{host}}"),
            width=6,
        ),
        lines(
            "Memory available",
            "Memory that can be had without swapping, over all there is.",
            "percentunit",
            Query(expression=f"{available} / {size}", legend="{{host}}"),
            limit=Limit(value=0.05, below=True),
            top=1,
            width=6,
        ),
        lines(
            "Swap used",
            "Swap space in use; a host that trains should have none in use.",
            "bytes",
            Query(expression=most("host", select(catalog.HOST_SWAP_USED, host=HOST)), legend="{{host}}"),
            width=6,
        ),
    ]


def disks() -> list[Panel]:
    """Disks, and the file systems that checkpoints go to."""
    free = most("host, path", select(catalog.HOST_FILESYSTEM_FREE, host=HOST))
    size = most("host, path", select(catalog.HOST_FILESYSTEM_SIZE, host=HOST))
    return [
        lines(
            "Free for checkpoints",
            "Free space of the file systems that runs save checkpoints to; a full one fails the next save.",
            "percentunit",
            Query(expression=f"{free} / {size}", legend="{{host}} {{path}}"),
            limit=Limit(value=0.10, below=True),
            top=1,
        ),
        lines(
            "Disk read",
            "Bytes a second read from each disk.",
            "Bps",
            _rate(catalog.HOST_DISK_READ, "host, device"),
        ),
        lines(
            "Disk written",
            "Bytes a second written to each disk.",
            "Bps",
            _rate(catalog.HOST_DISK_WRITTEN, "host, device"),
        ),
    ]


def networks() -> list[Panel]:
    """Network interfaces and RDMA ports."""
    lost = rate(catalog.HOST_NETWORK_ERRORS, "host, device, direction", host=HOST)
    faults = rate(catalog.RDMA_ERRORS, "host, device, port, counter", host=HOST)
    return [
        lines(
            "Network",
            "Bytes a second of each interface.",
            "Bps",
            _rate(catalog.HOST_NETWORK_RECEIVED, "host, device", " received"),
            _rate(catalog.HOST_NETWORK_SENT, "host, device", " sent"),
            width=6,
        ),
        lines(
            "Network errors",
            "Packets a second that an interface could not receive or send, dropped ones included.",
            "pps",
            Query(expression=lost, legend="{{host}} {{device}} {{direction}}"),
            width=6,
        ),
        lines(
            "RDMA",
            "Bytes a second of each RDMA port: what NCCL moves between hosts where it uses InfiniBand or "
            "RoCE.",
            "Bps",
            _rate(catalog.RDMA_RECEIVED, "host, device, port", " received"),
            _rate(catalog.RDMA_SENT, "host, device, port", " sent"),
            width=6,
        ),
        lines(
            "RDMA errors",
            "Error counters of RDMA ports, a second, by the kernel's name. A rising symbol or link error is "
            "a bad cable.",
            "eps",
            Query(expression=faults, legend="{{host}} {{device}}:{{port}} {{counter}}"),
            width=6,
        ),
    ]


def _rate(metric: Metric, labels: str, direction: str = "") -> Query:
    shown = "{{host}} {{device}}" + (":{{port}}" if "port" in labels else "")
    return Query(expression=rate(metric, labels, host=HOST), legend=shown + direction)
