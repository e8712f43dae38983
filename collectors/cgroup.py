"""What a container may use of its host: control group limits, as Linux documents them.

Version 2 (docs.kernel.org/admin-guide/cgroup-v2.html): memory.max and cpu.max of the process's group and of
every group above it. Version 1 (cgroup-v1/memory.html, scheduler/sched-bwc.html): memory.limit_in_bytes and
cpu.cfs_quota_us over cpu.cfs_period_us, of the mounted root too, which in a container is its own group.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
_UNLIMITED_BYTES = 2**60
"""Version 1 writes a number near 2**63 for no limit."""


def memory_limit_bytes(*, root: Path = ROOT, membership: Path = MEMBERSHIP) -> int | None:
    """Return the least memory limit of this process's control groups, or None where there is none."""
    limits = [
        int(text)
        for folder in _folders("memory", root, membership)
        for name in ("memory.max", "memory.limit_in_bytes")
        if (text := _read(folder / name)).isdigit()
    ]
    least = min(limits, default=_UNLIMITED_BYTES)
    return least if least < _UNLIMITED_BYTES else None


def cpu_limit(*, root: Path = ROOT, membership: Path = MEMBERSHIP) -> float | None:
    """Return the CPUs' worth of time that this process's control groups may use, or None without a limit."""
    limits = []
    for folder in _folders("cpu", root, membership):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def usable_cores(*, root: Path = ROOT, membership: Path = MEMBERSHIP) -> int:
    """Return how many CPUs this process can keep busy: its affinity, and its groups' share of time."""
    allowed = len(os.sched_getaffinity(0))
    limit = cpu_limit(root=root, membership=membership)
    return allowed if limit is None else max(1, min(allowed, math.ceil(limit)))


def _folders(controller: str, root: Path, membership: Path) -> Iterator[Path]:
    for line in _read(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        group = base / path.lstrip("/")
        yield from (each for each in (group, *group.parents) if each == base or base in each.parents)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
