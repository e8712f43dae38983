"""Stands in for the ``psutil`` module: a machine with one disk and one network interface."""

from types import MappingProxyType, SimpleNamespace
from typing import Any


class FakeSystem:
    disks: Any = MappingProxyType(
        {
            "sda": SimpleNamespace(read_bytes=10, write_bytes=20),
            "loop0": SimpleNamespace(read_bytes=1, write_bytes=1),
        }
    )

    def cpu_times(self) -> Any:
        return SimpleNamespace(user=5.0, system=2.0, idle=100.0)

    def getloadavg(self) -> tuple[float, float, float]:
        return (1.5, 1.0, 0.5)

    def virtual_memory(self) -> Any:
        return SimpleNamespace(total=1000, available=400)

    def swap_memory(self) -> Any:
        return SimpleNamespace(used=7)

    def disk_io_counters(self, *, perdisk: bool) -> Any:
        assert perdisk
        return self.disks

    def net_io_counters(self, *, pernic: bool) -> Any:
        assert pernic
        found = {"bytes_recv": 30, "bytes_sent": 40, "errin": 1, "dropin": 2, "errout": 3, "dropout": 4}
        return {"eth0": SimpleNamespace(**found)}
