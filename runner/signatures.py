"""What a failing process says last, recognised by type and never by the word "error"."""

import re
import signal
from pathlib import Path

_TAIL_BYTES = 64 << 10
_LAST_LINE = re.compile(
    r"^(?:\[rank\d+\]:\s*)?(?P<type>[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit)): (?P<message>.*)$"
)
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in ')
_MEMORY = re.compile(
    r"(CUDA|HIP|XPU)( error:)? out of memory|DefaultCPUAllocator: (can't|not enough) "
    r"|CUBLAS_STATUS_ALLOC_FAILED|std::bad_alloc|\[Errno 12\]"
    r"|[Uu]nable to mmap \d+ bytes.*Cannot allocate memory",
)
_MEMORY_TYPES = ("OutOfMemoryError", "MemoryError")
_WORKER_KILLED = re.compile(r"DataLoader worker \(pid.*\) (is killed by signal: Killed|exited unexpectedly)")
_PEER_LOST = re.compile(
    r"Connection (closed by peer|reset by peer|was likely closed)|Broken pipe|Socket closed|recvValue failed"
    r"|NCCL communicator was aborted|remote process (exited|has terminated)|process group .* aborted"
    r"|\[.*gloo/transport/.*\]",
)
_FATAL = frozenset(
    (
        signal.SIGILL,
        signal.SIGABRT,
        signal.SIGBUS,
        signal.SIGFPE,
        signal.SIGKILL,
        signal.SIGSEGV,
        signal.SIGTERM,
    )
)
_EXIT_LINES = (
    re.compile(r"exits with return code = (-?\d+)"),  # deepspeed's launcher
    re.compile(r"exitcode\s*: (-?\d+)"),  # torchrun's table: the root cause stands last
)


def is_memory(kind: str, message: str) -> bool:
    """Whether an exception of this type and message is a failed allocation."""
    return kind.rpartition(".")[2] in _MEMORY_TYPES or _MEMORY.search(message) is not None


def is_peer_loss(message: str) -> bool:
    """Whether an exception only says that another rank went away."""
    return _PEER_LOST.search(message) is not None


def is_killed_worker(message: str) -> bool:
    """Whether an exception says that a DataLoader's worker process was killed."""
    return _WORKER_KILLED.search(message) is not None


def is_signal(kind: str) -> bool:
    """Whether an exception of this type is how Python, or torchrun, takes a signal to end."""
    return kind.rpartition(".")[2] in ("KeyboardInterrupt", "SignalException")


def tail(path: Path, size: int = _TAIL_BYTES) -> str:
    """The last ``size`` bytes of a log; empty where there is none."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(max(length - size, 0))
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def last_exception(text: str) -> tuple[str, str, str] | None:
    """Type, message and ``file:line`` of the last uncaught exception in a log that is not a peer's loss."""
    where, traceback, found = "", False, None
    for line in text.splitlines():
        frame = _FRAME.search(line)
        if frame:
            where, traceback = f"{frame['file']}:{frame['line']}", True
        match = _LAST_LINE.match(line)
        if match and traceback:
            if found is None or not is_peer_loss(match["message"]):
                found = (match["type"], match["message"].strip(), where)
            traceback = False
    return found


def reported_exit(text: str) -> int | None:
    """The status of the rank that failed, as its launcher reports it."""
    for pattern in _EXIT_LINES:
        statuses = pattern.findall(text)
        if statuses:
            return int(statuses[-1])
    return None


def signal_of(status: int) -> int | None:
    """The signal behind an exit status: minus it, or 128 or 256 off as shells and launchers pass it on."""
    if status < 0:
        return -status
    return next((number for number in (status - 128, 256 - status) if number in _FATAL), None)


def signal_name(number: int) -> str:
    """For example ``segmentation fault (SIGSEGV)``."""
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
    words = (signal.strsignal(number) or name).lower()
    return f"{words} ({name})"
