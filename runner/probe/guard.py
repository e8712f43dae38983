"""Trial only: refuses writes outside the trial's folder, so that the user's files stay as they are.

An audit hook sees every ``open`` for writing, removal, renaming and new folder of the interpreter. The
longest known folder that holds a path decides: the trial's own, temporary and cache folders are allowed; the
working folder and the script's are not, even inside a temporary one; whatever no folder claims is refused.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

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


class Guard:
    """Which writes one trial allows."""

    def __init__(self, probe: Probe) -> None:
        self.probe = probe
        self.folder = os.getcwd()
        self._roots: dict[str, bool] | None = None
        self._reported: set[tuple[str, str]] = set()

    @property
    def roots(self) -> dict[str, bool]:
        """Real folder to whether it may be written; read at the first write, when the script is known."""
        if self._roots is None:
            script = sys.argv[0] if getattr(sys, "argv", None) else ""
            denied = [os.path.expanduser("~"), self.folder]
            if script and os.path.isfile(script):
                denied.append(os.path.dirname(os.path.abspath(script)))
            self._roots = dict.fromkeys(map(os.path.realpath, denied), False)
            self._roots.update(dict.fromkeys(map(os.path.realpath, self._allowed()), True))
        return self._roots

    def _allowed(self) -> list[str]:
        settings, home = self.probe.settings, os.path.expanduser("~")
        own = [settings.directory, settings.checkpoint_directory, *settings.allowed_writes]
        temporary = [os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP")]
        caches = [os.environ.get(name) for name in CACHE_VARIABLES]
        known = [*own, *temporary, *caches, *TEMPORARY, *DEVICES]
        return [path for path in known if path] + [os.path.join(home, name) for name in HOME_CACHES]

    def allows(self, path: str) -> bool:
        """Whether a path may be written."""
        real = os.path.realpath(path)
        if f"{os.sep}__pycache__" in real:
            return True
        folder = real
        while True:
            allowed = self.roots.get(folder)
            if allowed is not None:
                return allowed
            parent = os.path.dirname(folder)
            if parent == folder:
                return False
            folder = parent

    def check(self, path: Any, operation: str, directory: Any = -1) -> None:
        """Raise PermissionError, with a record, for a write that is not allowed."""
        text = _text(path, directory)
        if text is None or self.allows(text):
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
        CURRENT.guard.check(os.fspath(path), operation)


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
    guard.check(arguments[0], "open")


def _remove(guard: Guard, arguments: tuple[Any, ...]) -> None:
    # What is not there cannot be lost, and missing_ok is common.
    path = _text(arguments[0], arguments[1])
    if path is not None and os.path.lexists(path):
        guard.check(path, "remove")


def _make_folder(guard: Guard, arguments: tuple[Any, ...]) -> None:
    # makedirs(exist_ok=True) on a folder that is there changes nothing.
    path = _text(arguments[0], arguments[2])
    if path is not None and not os.path.isdir(path):
        guard.check(path, "mkdir")


def _rename(guard: Guard, arguments: tuple[Any, ...]) -> None:
    guard.check(arguments[0], "rename", arguments[2])
    guard.check(arguments[1], "rename", arguments[3])


def _link(guard: Guard, arguments: tuple[Any, ...]) -> None:
    guard.check(arguments[1], "link", arguments[-1])


def _truncate(guard: Guard, arguments: tuple[Any, ...]) -> None:
    guard.check(arguments[0], "truncate")


EVENTS = {
    "os.remove": _remove,
    "os.rmdir": _remove,
    "os.mkdir": _make_folder,
    "os.rename": _rename,
    "os.link": _link,
    "os.symlink": _link,
    "os.truncate": _truncate,
}
