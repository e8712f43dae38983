"""Driver, GPM counters and clocks."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from flyball.agent.doctor.base import Finding, Question, failing, ok, warning
from flyball.collectors.base import CollectorFailed
from flyball.collectors.nvml_health import GpuHealth, NvmlHealth, nvml_health

_NO_RIGHTS = "run where profiling counters are allowed (NVreg_RestrictProfilingToAdminUsers=0)"
_OLDER = "GPUs before Hopper: run a dcgm-exporter and set collectors.dcgm in flyball.yaml"


def check(question: Question, ask: Callable[[], NvmlHealth] = nvml_health) -> Iterable[Finding]:
    """Look at every GPU."""
    del question
    try:
        health = ask()
    except CollectorFailed as error:
        mend = "fine on a CPU machine; else install the NVIDIA driver, or give the container its GPUs"
        yield warning("driver", f"no GPU can be seen: {error.detail}", mend)
        return
    for index, why in health.lost:
        mend = "nvidia-smi -r, or a restart of the machine; its XID in dmesg says what happened"
        yield failing("driver", f"GPU {index} does not answer: {why.detail or why.reason}", mend)
    if not health.gpus:
        yield warning("driver", f"driver {health.driver} lists no GPU", "give the container its GPUs")
        return
    names = Counter(gpu.name for gpu in health.gpus)
    yield ok("driver", f"{health.driver}: {', '.join(f'{count} {name}' for name, count in names.items())}")
    yield _gpm(health.gpus)
    yield from _clocks(health.gpus)


def _gpm(gpus: tuple[GpuHealth, ...]) -> Finding:
    wrong = {gpu.index: gpu.gpm for gpu in gpus if gpu.gpm is not None}
    if not wrong:
        return ok("gpm", "SM utilization can be read")
    index, why = next(iter(wrong.items()))
    if why.reason == "gpm_not_supported":
        return warning("gpm", f"GPU {index} has no GPM counters: no SM utilization", _OLDER)
    return warning("gpm", f"GPU {index} refuses its GPM counters: {why.detail or why.reason}", _NO_RIGHTS)


def _clocks(gpus: tuple[GpuHealth, ...]) -> Iterator[Finding]:
    held = [gpu for gpu in gpus if gpu.throttled]
    if not held:
        yield ok("clocks", "nothing holds them down now")
    for gpu in held:
        text = f"GPU {gpu.index} is held down by {', '.join(gpu.throttled)}"
        yield warning("clocks", text, "see to cooling and power limit (nvidia-smi -q -d PERFORMANCE)")
