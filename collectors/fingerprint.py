"""What a machine is made of: alike machines share a digest, so that one's history helps the next study."""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from flyball.collectors.nvml_inventory import Gpu, list_gpus

PACKAGES = ("torch", "deepspeed", "transformers")
_MEMORY_STEP_BYTES = 2**30


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """Hardware and software of this machine; nothing in it names the machine or changes while it runs."""

    cpu_model: str
    cores: int
    """Logical CPUs that this process may run on."""
    memory_bytes: int
    """Of the host, rounded to GiB: what the kernel reserves for itself differs between boots."""
    gpus: tuple[Gpu, ...] = ()
    gpus_missing: str | None = None
    """Why no GPU could be listed; None where some were."""
    python: str
    packages: Mapping[str, str] = field(default_factory=dict)
    """Version of each of ``PACKAGES`` that is installed."""
    kernel: str
    """Release of the operating system's kernel."""

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {**asdict(self), "gpus": [asdict(gpu) for gpu in self.gpus], "packages": dict(self.packages)}

    @property
    def digest(self) -> str:
        """SHA-256 over hardware and software versions, the same after a reboot.

        Left out: a GPU's UUID, which names one piece and not its kind; why there is none; and the kernel's
        release, whose security updates do not change how fast a job trains.
        """
        parts = self.document()
        del parts["gpus_missing"], parts["kernel"]
        parts["gpus"] = [{**gpu, "uuid": None} for gpu in parts["gpus"]]
        text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def fingerprint() -> Fingerprint:
    """Read this machine's fingerprint; never fails for want of a GPU, and imports no torch."""
    gpus, reason = list_gpus()
    return Fingerprint(
        cpu_model=cpu_model(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=_host_memory_bytes(),
        gpus=gpus,
        gpus_missing=reason,
        python=platform.python_version(),
        packages=package_versions(),
        kernel=platform.release(),
    )


def package_versions() -> dict[str, str]:
    """Return the installed version of each of ``PACKAGES``, read without importing it."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model(*, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name as the kernel gives it; the architecture where it gives none (ARM)."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _host_memory_bytes() -> int:
    size_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return round(size_bytes / _MEMORY_STEP_BYTES) * _MEMORY_STEP_BYTES
