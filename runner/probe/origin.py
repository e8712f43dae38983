"""How this run was started, so that it can be started so again: its command, its folder, its launcher."""

from __future__ import annotations

import os
import re
from typing import Any

from flyball.runner.probe.process import command_line, is_launcher, program
from flyball.runner.probe.redaction import redact_command
from flyball.runner.probe.watch import Probe

MOST_TOKENS = 512
MOST_CHARACTERS = 32 << 10
_MOST_PARENTS = 16
_PYTHON = re.compile(r"(python|pypy)[\d.]*t?")
_OURS = ("flyball", "autotune")


def origin_fields(probe: Probe) -> dict[str, Any]:
    """The header's ``command``, ``launcher`` and ``working_directory``; a trial's folder says them already.

    Secrets are masked. A command that is longer than 512 words or 32 KiB is null: half of one starts nothing.
    """
    if probe.trial:
        return {}
    settings = probe.settings
    return {
        "command": _bounded(command_line()),
        "launcher": _bounded(list(settings.command) or launcher_command()),
        "working_directory": settings.working_directory or probe.working_directory,
    }


def launcher_command() -> list[str]:
    """The outermost launcher above this process, without its interpreter; empty where there is none.

    Only processes of the same user that run Python are looked at: a shell, or mpirun, ends the search.
    """
    found: list[str] = []
    try:
        pid = os.getppid()
        for _ in range(_MOST_PARENTS):
            if pid <= 1 or os.stat(f"/proc/{pid}").st_uid != os.getuid():
                break
            arguments = _arguments(pid)
            kind, name = program(arguments)
            if not _is_python(arguments) or (kind == "script" and os.path.basename(name) in _OURS):
                break
            if is_launcher(arguments):
                found = arguments[arguments.index(name, 1) :] if kind == "script" else arguments
            pid = _parent(pid)
    except (OSError, ValueError, IndexError):  # it ended meanwhile, or may not be looked at
        pass
    return found


def _arguments(pid: int) -> list[str]:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return [os.fsdecode(part) for part in file.read().split(b"\0")[:-1]]


def _is_python(arguments: list[str]) -> bool:
    return bool(arguments) and _PYTHON.fullmatch(os.path.basename(arguments[0])) is not None


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat", "rb") as file:
        # The name in parentheses may hold spaces and parentheses of its own.
        return int(file.read().rpartition(b")")[2].split()[1])


def _bounded(tokens: list[str]) -> list[str] | None:
    if not tokens or len(tokens) > MOST_TOKENS or sum(map(len, tokens)) > MOST_CHARACTERS:
        return None
    return redact_command(tokens)
