"""Imports what a training script imports, once, and forks one process a rank for every trial.

Run as a script by the user's own interpreter (Python 3.9 or later), with no flyball installed there: standard
library only. Its environment is that of a rank at import time; every rank's own environment and arguments
arrive over the inherited socket, together with the ends of the pipes that the trial writes to, and are never
on disk.

Messages are JSON, four bytes of length before each. To the server: ``prepare`` (modules, paths), ``fork``
(ranks: argv, environment, cwd, probe, threads, affinity, path; with two descriptors). From it: ``ready``
(reasons why forking is unsafe, failed imports), ``forked`` (pids), ``exit`` (pid, status).
"""

from __future__ import annotations

# ruff: noqa: PTH112, PTH115, PTH118, PTH119, PTH123, PTH208, UP035
# pathlib is one more import that a training script may not have
import sys

if __name__ == "__main__":
    del sys.path[0]  # our own folder: its modules are not the user's

import array
import atexit
import ctypes
import gc
import importlib
import importlib.util
import json
import os
import random
import re
import runpy
import selectors
import signal
import socket
import struct
import threading
import types
from contextlib import suppress
from typing import Any, Dict

Message = Dict[str, Any]  # noqa: UP006 (evaluated by the user's Python)

_PR_SET_PDEATHSIG = 1
_LENGTH = struct.Struct("!I")
_CUDA_NOT_INITIALIZED = 3
_IDLE_HELPER = re.compile(r"jemalloc_bg_thd|cuda[0-9a-f]+")
_POOL_SIZES = (
    "openblas_get_num_threads",
    "openblas_get_num_threads64_",
    "scipy_openblas_get_num_threads",
    "scipy_openblas_get_num_threads64_",
)


def packed(message: Message) -> bytes:
    """One message as it goes over the socket."""
    data = json.dumps(message).encode()
    return _LENGTH.pack(len(data)) + data


def receive(channel: socket.socket) -> tuple[Message, list[int]] | None:
    """Receive one message and the descriptors that came with it; None when the other side is gone."""
    header, descriptors = _receive_exactly(channel, _LENGTH.size)
    if header is None:
        return None
    body, more = _receive_exactly(channel, _LENGTH.unpack(header)[0])
    return None if body is None else (json.loads(body), descriptors + more)


def _receive_exactly(channel: socket.socket, size: int) -> tuple[bytes | None, list[int]]:
    data, descriptors = b"", array.array("i")
    while len(data) < size:
        try:
            part, ancillary, _, _ = channel.recvmsg(size - len(data), socket.CMSG_SPACE(4 * 4))
        except ConnectionError:
            part, ancillary = b"", []
        if not part:
            return None, []
        data += part
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    return data, list(descriptors)


class ForkServer:
    """Serves one owner, and ends with it."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: set[int] = set()

    def run(self) -> None:
        """Serve until the owner is gone."""
        wakeup, wakeup_write = socket.socketpair()
        for end in (wakeup, wakeup_write):
            end.setblocking(False)
        self._own = (self._channel, wakeup, wakeup_write)
        signal.set_wakeup_fd(wakeup_write.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        selector = selectors.DefaultSelector()
        selector.register(self._channel, selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        self._selector = selector
        while True:
            for key, _ in selector.select():
                if key.fileobj is wakeup:
                    wakeup.recv(4096)
                    self._reap()
                elif not self._serve():
                    self._end()
                    return

    def _serve(self) -> bool:
        received = receive(self._channel)
        if received is None:
            return False
        message, descriptors = received
        if message["op"] == "prepare":
            failed, starters = import_all(message["modules"], message["paths"])
            reasons = unsafe(starters, {end.fileno() for end in self._own} | {self._selector.fileno()})
            gc.collect()
            gc.freeze()
            self._tell({"event": "ready", "failed": failed, "reasons": reasons})
        else:
            self._fork(message["ranks"], descriptors)
        return True

    def _fork(self, ranks: list[Message], descriptors: list[int]) -> None:
        pids = []
        sys.stdout.flush()
        sys.stderr.flush()
        for rank in ranks:
            pid = os.fork()
            if pid == 0:
                self._become(rank, descriptors)
            pids.append(pid)
        self._children.update(pids)
        for descriptor in descriptors:
            os.close(descriptor)
        self._tell({"event": "forked", "pids": pids})

    def _become(self, rank: Message, descriptors: list[int]) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for end in self._own:
                end.close()
            settle(rank, descriptors)
            status = run_script(rank)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            leave(status)

    def _tell(self, message: Message) -> None:
        with suppress(OSError):  # a lost owner is seen at the next read
            self._channel.sendall(packed(message))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._children:
                self._children.discard(pid)
                self._tell({"event": "exit", "pid": pid, "status": os.waitstatus_to_exitcode(status)})

    def _end(self) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _wake(*_: object) -> None:
    """Do nothing: the wake-up descriptor has woken the loop."""


def import_all(modules: list[str], paths: list[str]) -> tuple[dict[str, str], list[str]]:
    """Import what the first run was seen to import.

    Returns what could not be imported, with its reason, and the modules whose import started threads.
    """
    sys.path.extend(path for path in paths if path not in sys.path)
    failed, starters = {}, []
    threads = len(_task_names())
    for name in modules:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except BaseException as error:
            failed[name] = f"{type(error).__name__}: {error}"[:200]
        before, threads = threads, len(_task_names())
        if threads > before:
            starters.append(name)
    return failed, starters


def unsafe(starters: list[str], own_descriptors: set[int]) -> list[str]:
    """Why this process must not be forked: threads, a device in use, or a connection that would be shared.

    ``starters`` are the modules whose import started threads, idle ones among them.
    """
    reasons = []
    others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    if others:
        reasons.append("an import started the thread " + ", ".join(sorted(others)))
    idle = _idle_pool_threads() + _idle_helpers()
    native = len(os.listdir("/proc/self/task")) - 1 - len(others) - idle
    if native > 0:
        names = ", ".join(sorted(set(_task_names().values())))
        came = ", ".join(starters)
        reasons.append(f"{native} native threads came with one of: {came} (all threads by name: {names})")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        reasons.append("an import initialized CUDA")
    elif _driver_in_use():
        reasons.append("an import initialized the CUDA driver")
    sockets = _sockets() - own_descriptors
    if sockets:
        reasons.append(f"an import opened {len(sockets)} sockets")
    return reasons


def _loaded(name: str) -> list[str]:
    with open("/proc/self/maps") as maps:
        paths = {line.split(None, 5)[5].strip() for line in maps if len(line.split(None, 5)) == 6}
    return sorted(path for path in paths if name in os.path.basename(path))


def _idle_pool_threads() -> int:
    """Workers that OpenBLAS keeps ready; it ends and restarts them around a fork by itself."""
    count = 0
    for path in _loaded("openblas"):
        library = ctypes.CDLL(path)
        size = next((getattr(library, name) for name in _POOL_SIZES if hasattr(library, name)), None)
        count += max(int(size()) - 1, 0) if size is not None else 0
    return count


def _idle_helpers() -> int:
    """Threads that a child can do without, by their libraries' names for them.

    jemalloc's purging thread, which pyarrow brings; NVML's event thread, from torch's NVML-based check.
    """
    return sum(bool(_IDLE_HELPER.fullmatch(name)) for name in _task_names().values())


def _task_names() -> dict[str, str]:
    names = {}
    for task in os.listdir("/proc/self/task"):
        with suppress(OSError), open(f"/proc/self/task/{task}/comm") as comm:
            names[task] = comm.read().strip()
    return names


def _driver_in_use() -> bool:
    for path in _loaded("libcuda.so"):
        count = ctypes.c_int()
        if ctypes.CDLL(path).cuDeviceGetCount(ctypes.byref(count)) != _CUDA_NOT_INITIALIZED:
            return True
    return False


def _sockets() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
    return found


def settle(rank: Message, descriptors: list[int]) -> None:
    """Turn a fresh fork into the rank that its launcher would have started."""
    os.setsid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    null = os.open(os.devnull, os.O_RDONLY)
    for target, source in enumerate((null, *descriptors)):
        os.dup2(source, target)
    for descriptor in (null, *descriptors):
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(rank["environment"])
    os.chdir(rank["cwd"])
    with suppress(OSError):
        os.sched_setaffinity(0, rank["affinity"])
    sys.argv = rank["argv"]
    sys.orig_argv = rank["orig_argv"]
    sys.path[:] = rank["path"] + [path for path in sys.path if path not in rank["path"]]
    _forget_the_server()
    torch = sys.modules.get("torch")
    if torch is not None and rank["threads"]:
        torch.set_num_threads(rank["threads"])


def _forget_the_server() -> None:
    """Undo what a fork inherits and a fresh interpreter would not have."""
    random.seed()
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed()
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None:
        multiprocessing.current_process()._config.pop("tempdir", None)
    tracker = sys.modules.get("multiprocessing.resource_tracker")
    if tracker is not None:
        tracker._resource_tracker._fd = None
        tracker._resource_tracker._pid = None


def activate_probe(folder: str) -> None:
    """Load the trial's own copy of the probe, as its sitecustomize does in a fresh interpreter."""
    name = "flyball.runner.probe"
    if name not in sys.modules:
        package = os.path.join(folder, "probe")
        spec = importlib.util.spec_from_file_location(
            name,
            os.path.join(package, "__init__.py"),
            submodule_search_locations=[package],
        )
        if spec is None or spec.loader is None:
            raise ImportError(name, path=package)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    sys.modules[name].activate(os.path.join(folder, "settings.json"), forked=True)


def run_script(rank: Message) -> int:
    """Run the training script as ``__main__``; return its exit status, printing what Python would."""
    try:
        if rank["probe"]:
            activate_probe(rank["probe"])
        main = types.ModuleType("__main__")
        main.__dict__["__builtins__"] = sys.modules["builtins"]
        sys.modules["__main__"] = main
        if rank["is_module"]:
            runpy._run_module_as_main(rank["argv"][0])  # type: ignore[attr-defined]
        else:
            _run_file(rank["argv"][0], main)
    except SystemExit as leaving:
        return _exit_status(leaving.code)
    except BaseException as error:
        traceback = error.__traceback__
        while traceback is not None and traceback.tb_frame.f_code.co_filename in (__file__, runpy.__file__):
            traceback = traceback.tb_next
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, traceback
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _run_file(path: str, main: types.ModuleType) -> None:
    if os.path.isdir(path):
        runpy.run_path(path, run_name="__main__")
        return
    with open(path, "rb") as file:
        source = file.read()
    loader = importlib.machinery.SourceFileLoader("__main__", path)
    main.__dict__.update(__file__=path, __spec__=None, __loader__=loader, __cached__=None)
    exec(compile(source, path, "exec", dont_inherit=True), main.__dict__)


def _exit_status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def leave(status: int) -> None:
    """End as an interpreter does, short of tearing down what was inherited."""
    for last in (threading._shutdown, atexit._run_exitfuncs, sys.stdout.flush, sys.stderr.flush):  # type: ignore[attr-defined]
        try:
            last()
        except BaseException:
            sys.excepthook(*sys.exc_info())
    os._exit(status)


def main(descriptor: int) -> None:
    """Run a server on an inherited socket."""
    os.set_inheritable(descriptor, False)
    ForkServer(socket.socket(fileno=descriptor)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
