"""Limits of containers, read from trees like the kernel's."""

import os
from pathlib import Path

import pytest

from flyball.collectors.cgroup import cpu_limit, memory_limit_bytes, usable_cores

V2 = {
    "job/memory.max": "max",
    "job/cpu.max": "max 100000",
    "memory.max": "17179869184",
    "cpu.max": "150000 100000",
}
V1 = {
    "memory/job/memory.limit_in_bytes": "2147483648",
    "memory/memory.limit_in_bytes": "9223372036854771712",
    "cpu/job/cpu.cfs_quota_us": "50000",
    "cpu/job/cpu.cfs_period_us": "100000",
    "cpu/cpu.cfs_quota_us": "-1",
}


@pytest.mark.parametrize(
    ("case", "files", "membership", "memory", "cpus"),
    [
        ("version 2, limited above", V2, "0::/job\n", 16 * 2**30, 1.5),
        (
            "version 2, another group",
            {**V2, "memory.max": "max", "cpu.max": "max 100000"},
            "0::/job",
            None,
            None,
        ),
        ("version 1", V1, "5:cpu,cpuacct:/job\n4:memory:/job\n", 2 * 2**30, 0.5),
        (
            "version 1, not limited",
            {"memory/memory.limit_in_bytes": "9223372036854771712"},
            "4:memory:/",
            None,
            None,
        ),
        ("nothing mounted", {}, "0::/job", None, None),
        ("a container that sees its host's path", {"memory.max": "1024"}, "0::/kubepods/pod1/c1", 1024, None),
        ("no membership", V2, "", None, None),
    ],
)
def test_the_least_limit_of_all_groups_counts(
    tmp_path: Path, case: str, files: dict[str, str], membership: str, memory: int | None, cpus: float | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (tmp_path / "self").write_text(membership)
    place = {"root": tmp_path / "cgroup", "membership": tmp_path / "self"}
    assert memory_limit_bytes(**place) == memory
    assert cpu_limit(**place) == cpus
    allowed = len(os.sched_getaffinity(0))
    assert usable_cores(**place) == (allowed if cpus is None else min(allowed, 2 if cpus > 1 else 1))
