"""Which process this is: a worker, a launcher that starts workers, or somebody's helper."""

from __future__ import annotations

import os
import sys
import time

WORKER_VARIABLE = "FLYBALL_PROBE_WORKER"
"""``rank/pid`` of the process that speaks for a rank before it has an engine; its helpers inherit it."""

LAUNCHER_SCRIPTS = {
    "deepspeed",
    "deepspeed.pt",
    "ds",
    "ds_ssh",
    "ds_report",
    "ds_elastic",
    "torchrun",
    "accelerate",
    "accelerate-launch",
    "mpirun",
    "autotune",
    "flyball",
}
LAUNCHER_MODULES = (
    "deepspeed.launcher",
    "torch.distributed.run",
    "torch.distributed.launch",
    "accelerate.commands",
)
_OPTIONS_WITH_VALUE = {"-W", "-X", "--check-hash-based-pycs"}


def command_line() -> list[str]:
    """The arguments that this interpreter was started with, itself first."""
    found = getattr(sys, "orig_argv", None)
    if found:
        return list(found)
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(part) for part in file.read().split(b"\0")[:-1]]
    except OSError:
        return list(getattr(sys, "argv", []))


def program(arguments: list[str]) -> tuple[str, str]:
    """What an interpreter was told to run: ``(kind, name)``, kind one of script, module, code, none."""
    rest = arguments[1:]
    while rest:
        word = rest.pop(0)
        if word in _OPTIONS_WITH_VALUE:
            rest = rest[1:]
        elif not word.startswith("-") or word == "-":
            return "script", word
        elif not word.startswith("--") and word[-1] in "mc":
            return ("module" if word[-1] == "m" else "code"), (rest[0] if rest else "")
    return "none", ""


def is_launcher(arguments: list[str]) -> bool:
    """Whether a command line is one that only starts workers."""
    kind, name = program(arguments)
    if kind == "script":
        return os.path.basename(name) in LAUNCHER_SCRIPTS
    return kind == "module" and any(
        name == known or name.startswith(known + ".") for known in LAUNCHER_MODULES
    )


def claim_worker(*, force: bool = False) -> bool:
    """Whether this process speaks for its rank; its children, which inherit the claim, do not.

    A child with an engine of its own still opens a journal; this only decides whose last words count before
    there is an engine.
    """
    if is_launcher(command_line()) and not force:
        return False
    own_rank, pid = os.environ.get("RANK", ""), str(os.getpid())
    claimed_rank, _, _ = os.environ.get(WORKER_VARIABLE, "nobody/").partition("/")
    # A script that wraps a launcher claims no rank, so the workers below it may still claim theirs.
    if force or claimed_rank != own_rank:
        os.environ[WORKER_VARIABLE] = f"{own_rank}/{pid}"
    return os.environ[WORKER_VARIABLE] == f"{own_rank}/{pid}"


def rank() -> int:
    """The global rank, from torch.distributed where it is up, else from the environment, else 0."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    for name in ("RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID"):
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return 0


def current_folder() -> str | None:
    """Where this process stands; None where its folder is gone."""
    try:
        return os.getcwd()
    except OSError:
        return None


def process_start_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot (proc(5), field 22); 0 where unknown."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name in parentheses may hold spaces and parentheses of its own.
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


def pid_namespace() -> str:
    """Where this process' id means something: boot and PID namespace; empty if not known."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""


def process_started() -> float:
    """When this process started, on the monotonic clock, in seconds."""
    ticks = process_start_ticks(os.getpid())
    now = time.monotonic()
    if not ticks:
        return now
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    return now - max(0.0, age)
