"""How many ranks a command starts on this host, without importing torch."""

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from flyball.errors import CommandError
from flyball.runner.accelerate_file import accelerate_file
from flyball.runner.invocation import Invocation, Option

_HOSTFILE = "/job/hostfile"


def rank_count(invocation: Invocation, environment: Mapping[str, str]) -> int:
    """Return the world size that the launcher itself would start on this host.

    Raises:
        CommandError: a count that is not a number, or a command for several hosts.
    """
    counted = {"deepspeed": _deepspeed, "torchrun": _torchrun, "accelerate": _accelerate}
    count = counted.get(invocation.launcher, _plain)(invocation, environment)
    if count < 1:
        mend = "name at least one process or device in the launcher's options"
        raise CommandError("the command starts no rank at all", where="command", mend=mend)
    return count


def _deepspeed(invocation: Invocation, environment: Mapping[str, str]) -> int:
    if _number(invocation.option("--num_nodes"), 1) > 1:
        raise _many_hosts("--num_nodes")
    asked = _number(invocation.option("--num_gpus", "--num_accelerators"), -1)
    if asked > 0:
        return asked
    include = invocation.option("--include", "-i")
    if include and include.value and "@" in include.value:
        raise _many_hosts(include.name)
    if include and include.value and ":" in include.value:
        return len(set(include.value.partition(":")[2].split(",")))
    hostfile = invocation.option("--hostfile", "-H")
    slots = _slots(Path(hostfile.value if hostfile and hostfile.value else _HOSTFILE))
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    exclude = invocation.option("--exclude", "-e")
    available = slots or device_count(environment, visible="" if exclude else visible)
    if exclude and exclude.value and ":" in exclude.value:
        return available - len(set(exclude.value.partition(":")[2].split(",")))
    return available


def _slots(hostfile: Path) -> int | None:
    if not hostfile.is_file():
        return None
    lines = [line.strip() for line in hostfile.read_text(errors="replace").splitlines()]
    slots = [re.match(r"\S+\s+slots=(\d+)", line) for line in lines if line and not line.startswith("#")]
    if len(slots) > 1:
        raise _many_hosts(str(hostfile))
    return int(slots[0].group(1)) if slots and slots[0] else None


def _torchrun(invocation: Invocation, environment: Mapping[str, str]) -> int:
    nodes = invocation.option("--nnodes")
    if nodes and nodes.value and nodes.value.partition(":")[0] not in ("", "1"):
        raise _many_hosts("--nnodes")
    if nodes is None and environment.get("PET_NNODES", "1").partition(":")[0] not in ("", "1"):
        raise _many_hosts("PET_NNODES")
    option = invocation.option("--nproc_per_node")
    value = option.value if option else environment.get("PET_NPROC_PER_NODE", "1")
    if value == "cpu":
        return os.cpu_count() or 1
    if value in ("gpu", "auto", "xpu"):
        return device_count(environment, visible=environment.get("CUDA_VISIBLE_DEVICES", "")) or 1
    if option is None and value and not value.isdigit():
        raise CommandError(
            f"{value!r} is not a number", where="PET_NPROC_PER_NODE", mend="write how many ranks to start"
        )
    return _number(option, 1) if option else int(value or 1)


def _accelerate(invocation: Invocation, environment: Mapping[str, str]) -> int:
    if _number(invocation.option("--num_machines"), 1) > 1:
        raise _many_hosts("--num_machines")
    option = invocation.option("--num_processes")
    if option:
        return _number(option, 1)
    file = accelerate_file(invocation, environment)
    if file.get("num_machines", "1") not in ("", "0", "1"):
        raise _many_hosts("num_machines in accelerate's config file")
    configured = file.get("num_processes")
    if configured is not None and configured.isdigit():
        return int(configured)
    return device_count(environment, visible=environment.get("CUDA_VISIBLE_DEVICES", ""))


def _plain(invocation: Invocation, environment: Mapping[str, str]) -> int:
    return 1 if invocation.launcher == "python" else 0


def device_count(environment: Mapping[str, str], *, visible: str = "") -> int:
    """What DeepSpeed's accelerator counts: visible GPUs, or NUMA nodes with cores on a CPU-only machine."""
    gpus = len([entry for entry in _entries(Path("/dev")) if re.fullmatch(r"nvidia\d+", entry)])
    if gpus and environment.get("DS_ACCELERATOR", "cuda") == "cuda":
        return len([device for device in visible.split(",") if device]) if visible else gpus
    local_size = environment.get("LOCAL_SIZE", "")
    if local_size.isdigit() and int(local_size) > 0:
        return int(local_size)
    if shutil.which("numactl") is None:
        return 1
    nodes = Path("/sys/devices/system/node")
    cores = {node: (nodes / node / "cpulist") for node in _entries(nodes) if re.fullmatch(r"node\d+", node)}
    return max(1, len({path.read_text().strip() for path in cores.values()} - {""}))


def _entries(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()] if folder.is_dir() else []


def _number(option: Option | None, default: int) -> int:
    if option is None:
        return default
    try:
        return int(option.value or "")
    except ValueError:
        raise CommandError(
            f"{option.value!r} is not a number", where=option.name, mend="write a whole number"
        ) from None


def _many_hosts(where: str) -> CommandError:
    return CommandError("the command spans several hosts", where=where, mend="tune it on one host")
