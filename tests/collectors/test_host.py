import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.collectors.host_fake import FakeSystem
from tests.collectors.journal_fakes import Host, header, line, step

from flyball.collectors.base import Unavailable
from flyball.collectors.host import HostCollector
from flyball.collectors.registry import Surroundings


def read(host: Host, folder: Path, system: Any = None) -> dict[tuple[str, ...], object]:
    collector = HostCollector(
        Surroundings(host="here", clock=host.clock, runs=host.runs()),
        interval_seconds=5.0,
        infiniband=folder,
        system=system or FakeSystem(),
        statvfs=lambda path: os.statvfs_result((4096, 4096, 100, 60, 50, 9, 9, 9, 0, 255)),
    )
    return {(each.metric.name, *each.labels[1:]): each.value for each in collector.collect()}


def test_processors_memory_disks_and_network(tmp_path: Path) -> None:
    found = read(Host(tmp_path), tmp_path / "none")
    assert found["host_cpu_seconds_total", "user"] == 5.0
    assert ("host_cpu_seconds_total", "steal") not in found
    assert found["host_load1",] == 1.5
    assert found["host_memory_available_bytes",] == 400.0
    assert found["host_disk_written_bytes_total", "sda"] == 20.0
    assert ("host_disk_read_bytes_total", "loop0") not in found
    assert found["host_network_errors_total", "eth0", "receive"] == 3.0
    assert found["host_network_errors_total", "eth0", "send"] == 7.0


def test_room_where_live_runs_save_and_where_journals_lie(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.write(header() + step(1))
    host.write(line("pause", 1.0, phase="checkpointing", edge="begin", engine=0, path="/data/ckpt"))
    found = read(host, tmp_path / "none")
    assert found["host_filesystem_free_bytes", "/data/ckpt"] == 50 * 4096
    assert found["host_filesystem_size_bytes", str(host.root)] == 100 * 4096


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "denied"), "no_permission"),
        (FileNotFoundError(2, "/proc/stat"), "not_readable"),
        (RuntimeError("no such line"), "not_readable"),
        (psutil.AccessDenied(), "not_readable"),
    ],
)
@pytest.mark.parametrize(
    "call",
    ["cpu_times", "getloadavg", "virtual_memory", "swap_memory", "disk_io_counters", "net_io_counters"],
)
def test_what_the_system_hides_has_a_reason_and_takes_nothing_else_down(
    tmp_path: Path, call: str, error: Exception, expected: str
) -> None:
    def fail(**_: bool) -> None:
        raise error

    system = FakeSystem()
    host = Host(tmp_path)
    whole = read(host, tmp_path / "none", system)
    setattr(system, call, fail)
    found = read(host, tmp_path / "none", system)
    missing = [each.reason for each in found.values() if isinstance(each, Unavailable)]
    assert missing == [expected]
    assert 0 < len(whole) - len(found) + 1 <= 4


def test_rdma_ports_count_bytes_and_errors(tmp_path: Path) -> None:
    port = tmp_path / "infiniband" / "mlx5_0" / "ports" / "1"
    for folder, values in {
        "counters": {"port_rcv_data": 250, "port_xmit_data": 500, "symbol_error": 2, "link_downed": "N/A"},
        "hw_counters": {"out_of_sequence": 9},
    }.items():
        (port / folder).mkdir(parents=True)
        for name, value in values.items():
            (port / folder / name).write_text(f"{value}\n")
    found = read(Host(tmp_path), tmp_path / "infiniband")
    assert found["rdma_received_bytes_total", "mlx5_0", "1"] == 1000.0
    assert found["rdma_sent_bytes_total", "mlx5_0", "1"] == 2000.0
    errors = {key[-1]: each for key, each in found.items() if key[0] == "rdma_errors_total"}
    assert errors == {"symbol_error": 2.0, "out_of_sequence": 9.0}
