"""Trial only: refuses writes outside the trial's folder, so that the user's files stay as they are.

An audit hook sees every ``open`` for writing, removal, renaming and new folder of the interpreter, and the
commands of its children. The longest known folder that holds a path decides: the trial's own and cache
folders are allowed; the working folder and the script's are not, even inside a temporary one; whatever no
folder claims is refused. In a temporary folder files may be made and changed, but for those that were there
before the study's first trial.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import time
from typing import Any

from flyball.runner.probe.guard_commands import writes
from flyball.runner.probe.watch import SLOT, Probe

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
REPORT_LIMIT = 200
CACHE_VARIABLES = (
    "CUDA_CACHE_PATH",
    "HF_DATASETS_CACHE",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "MPLCONFIGDIR",
    "NUMBA_CACHE_DIR",
    "PYTHONPYCACHEPREFIX",
    "TORCHINDUCTOR_CACHE_DIR",
    "TORCH_EXTENSIONS_DIR",
    "TORCH_HOME",
    "TRANSFORMERS_CACHE",
    "TRITON_CACHE_DIR",
    "XDG_CACHE_HOME",
)
HOME_CACHES = (".cache", ".config/matplotlib", ".deepspeed", ".nv", ".triton", ".cupy", ".keras", ".numba")
TEMPORARY = ("/tmp", "/var/tmp", "/usr/tmp")
DEVICES = ("/dev", "/proc", "/sys")
TEMPORARY_CACHES = re.compile(
    r"\.?(cache|cuda|datasets|flashinfer|hf|huggingface|jax|matplotlib|mpl|nccl|numba|nv|pymp|ray|torch"
    r"|torch_extensions|torchelastic|torchinductor|transformers|triton|vllm|wandb|xla)([._-].*)?"
)
"""First folder or file below a temporary one that programs share on purpose."""
REMEMBERED = 10_000

ALLOWED, DENIED, TEMPORARY_ONLY = "allowed", "denied", "temporary"


class Guard:
    """Which writes one trial allows."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.folder = os.getcwd()
        self.began = _began(probe.settings.directory)
        self._roots: dict[str, str] | None = None
        self._made: set[str] = set()
        self._reported: set[tuple[str, str]] = set()

    @property
    def roots(self) -> dict[str, str]:
        """Real folder to what may be written there; read at the first write, when the script is known."""
        if self._roots is None:
            script = sys.argv[0] if getattr(sys, "argv", None) else ""
            denied = [os.path.expanduser("~"), self.folder]
            if script and os.path.isfile(script):
                denied.append(os.path.dirname(os.path.abspath(script)))
            temporary = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
            scratch = [path for path in (*temporary, *TEMPORARY) if path]
            kinds = {DENIED: denied, TEMPORARY_ONLY: scratch, ALLOWED: self._allowed()}
            self._roots = {os.path.realpath(path): kind for kind, paths in kinds.items() for path in paths}
        return self._roots

    def _allowed(self) -> list[str]:
        settings, home = self.probe.settings, os.path.expanduser("~")
        own = [settings.directory, settings.checkpoint_directory, *settings.allowed_writes]
        caches = [os.environ.get(name) for name in CACHE_VARIABLES]
        return [path for path in (*own, *caches, *DEVICES) if path] + [
            os.path.join(home, name) for name in HOME_CACHES
        ]

    def allows(self, path: str, *, erases: bool = False) -> bool:
        """Whether a path may be written; ``erases`` where what stands there would be lost or changed."""
        real = os.path.realpath(path)
        if f"{os.sep}__pycache__" in real:
            return True
        folder = real
        while True:
            kind = self.roots.get(folder)
            if kind is not None:
                return kind == ALLOWED or (
                    kind == TEMPORARY_ONLY and (not erases or self._is_scratch(real, folder))
                )
            parent = os.path.dirname(folder)
            if parent == folder:
                return False
            folder = parent

    def _is_scratch(self, real: str, root: str) -> bool:
        """Whether what stands in a temporary folder is the study's own, shared, or nothing to lose."""
        try:
            found = os.lstat(real)
        except OSError:
            if len(self._made) < REMEMBERED:
                self._made.add(real)
            return True
        if real in self._made or TEMPORARY_CACHES.fullmatch(os.path.relpath(real, root).partition(os.sep)[0]):
            return True
        if stat.S_ISDIR(found.st_mode):
            inside = (os.path.join(folder, name) for folder, _, names in os.walk(real) for name in names)
            return not any(self._is_older(path) for path in inside)
        return not self._is_older(real)

    def _is_older(self, path: str) -> bool:
        """Whether a regular file is older than the study; an empty one and a lock have nothing to lose."""
        try:
            found = os.lstat(path)
        except OSError:
            return False
        regular = stat.S_ISREG(found.st_mode) and found.st_size > 0 and not path.endswith(".lock")
        return regular and max(found.st_ctime, found.st_mtime) < self.began

    def check(self, path: Any, operation: str, directory: Any = -1, *, erases: bool = False) -> None:
        """Raise PermissionError, with a record, for a write that is not allowed."""
        text = _text(path, directory)
        if text is None or self.allows(text, erases=erases):
            return
        key = (text, operation)
        if key not in self._reported and len(self._reported) < REPORT_LIMIT:
            self._reported.add(key)
            self.probe.say("foreign_write", path=os.path.abspath(text), operation=operation)
        raise PermissionError(
            errno.EACCES,
            "a trial may not write outside its own folder; send this output to {trial_dir}",
            text,
        )


def _began(directory: str) -> float:
    """When the study's first trial began, by its settings, else this one: files since then are its own."""
    for trial in (os.path.join(os.path.dirname(directory), "0"), directory):
        try:
            return os.stat(os.path.join(trial, "probe", "settings.json")).st_mtime
        except OSError:
            continue
    return time.time()


def _text(path: Any, directory: Any) -> str | None:
    """A path as text, relative to an open folder where the call gave one; None for a descriptor."""
    if isinstance(path, int) or path is None:
        return None
    text = os.fsdecode(path)
    if isinstance(directory, int) and directory >= 0 and not os.path.isabs(text):
        text = os.path.join(os.readlink(f"/proc/self/fd/{directory}"), text)
    return text


class Current:
    """Holds the guard in force; an audit hook cannot be taken back, so it asks here."""

    __slots__ = ("busy", "guard", "hooked")

    def __init__(self) -> None:
        self.guard: Guard | None = None
        self.hooked = False
        self.busy = False


CURRENT = Current()


def guard_writes(probe: Probe) -> None:
    """Put a guard in force for this process and its forks; a second call replaces the first."""
    CURRENT.guard = Guard(probe)
    if not CURRENT.hooked:
        CURRENT.hooked = True
        sys.addaudithook(_audit)


def check_write(path: Any, operation: str) -> None:
    """For writers that audit events do not see; raises PermissionError."""
    if CURRENT.guard is not None and SLOT.probe is not None and isinstance(path, (str, bytes, os.PathLike)):
        CURRENT.guard.check(os.fspath(path), operation, erases=True)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        flags = arguments[2]
        if not isinstance(flags, int) or not flags & WRITES:
            return
    elif event not in EVENTS:
        return
    guard = CURRENT.guard
    if guard is None or CURRENT.busy:
        return
    # Writing the record opens a file itself.
    CURRENT.busy = True
    try:
        (EVENTS.get(event) or _open)(guard, arguments)
    finally:
        CURRENT.busy = False


def _open(guard: Guard, arguments: tuple[Any, ...]) -> None:
    flags = arguments[2]
    appends = flags & os.O_APPEND and not flags & os.O_TRUNC
    changes = flags & (os.O_ACCMODE | os.O_TRUNC) and not appends
    # tempfile opens the folder itself, for a file without a name or by an opener of its own.
    guard.check(arguments[0], "open", erases=bool(changes) and not os.path.isdir(arguments[0]))


def _remove(guard: Guard, arguments: tuple[Any, ...]) -> None:
    # What is not there cannot be lost, and missing_ok is common.
    path = _text(arguments[0], arguments[1])
    if path is not None and os.path.lexists(path):
        guard.check(path, "remove", erases=True)


def _make_folder(guard: Guard, arguments: tuple[Any, ...]) -> None:
    # makedirs(exist_ok=True) on a folder that is there changes nothing.
    path = _text(arguments[0], arguments[2])
    if path is not None and not os.path.isdir(path):
        guard.check(path, "mkdir")


def _rename(guard: Guard, arguments: tuple[Any, ...]) -> None:
    guard.check(arguments[0], "rename", arguments[2], erases=True)
    guard.check(arguments[1], "rename", arguments[3], erases=True)


def _link(guard: Guard, arguments: tuple[Any, ...]) -> None:
    guard.check(arguments[1], "link", arguments[-1])


def _truncate(guard: Guard, arguments: tuple[Any, ...]) -> None:
    guard.check(arguments[0], "truncate", erases=True)


def _attributes(guard: Guard, arguments: tuple[Any, ...]) -> None:
    path = _text(arguments[0], arguments[-1])
    if path is not None and os.path.lexists(path):
        guard.check(path, "attributes")


def _database(guard: Guard, arguments: tuple[Any, ...]) -> None:
    name = arguments[0]
    if not isinstance(name, (str, bytes, os.PathLike)):
        return
    text = os.fsdecode(name)
    if text.startswith("file:"):
        text, _, options = text[len("file:") :].partition("?")
        if re.search(r"\b(mode=(ro|memory)|immutable=1)\b", options):
            return
        text = re.sub(r"^//[^/]*", "", text)
    if text and text != ":memory:":
        guard.check(text, "sqlite3.connect")


def _child(guard: Guard, command: Any, folder: Any = None) -> None:
    for program, path in writes(command, folder):
        if program not in ("rm", "shred", "unlink") or os.path.lexists(path):
            guard.check(path, program, erases=True)


def _system(guard: Guard, arguments: tuple[Any, ...]) -> None:
    _child(guard, arguments[0])


def _popen(guard: Guard, arguments: tuple[Any, ...]) -> None:
    command = arguments[1]
    _child(guard, [command] if isinstance(command, (str, bytes, os.PathLike)) else command, arguments[2])


def _spawn(guard: Guard, arguments: tuple[Any, ...]) -> None:
    _child(guard, arguments[1])


EVENTS = {
    "os.chmod": _attributes,
    "os.chown": _attributes,
    "os.exec": _spawn,
    "os.link": _link,
    "os.mkdir": _make_folder,
    "os.posix_spawn": _spawn,
    "os.remove": _remove,
    "os.rename": _rename,
    "os.rmdir": _remove,
    "os.symlink": _link,
    "os.system": _system,
    "os.truncate": _truncate,
    "os.utime": _attributes,
    "sqlite3.connect": _database,
    "subprocess.Popen": _popen,
}
