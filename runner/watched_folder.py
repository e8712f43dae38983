"""The folder of a run that is watched and not tuned, with the probe in it."""

import itertools
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.errors import OptionError
from flyball.runner.probe.process import current_folder
from flyball.runner.probe.redaction import redact_command
from flyball.runner.probe_install import install


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchedFolder:
    """One run's folder."""

    name: str
    path: Path
    environment: Mapping[str, str]
    """The user's whole environment, with the probe in front of PYTHONPATH."""


def make_watched_folder(
    runs: Path,
    name: str | None,
    command: Sequence[str],
    *,
    ping_every_steps: int = 0,
    probe: Mapping[str, Any] | None = None,
) -> WatchedFolder:
    """Make the folder of a run and put the probe into it.

    Args:
        runs: holds a folder a run.
        name: of the run; None makes one up.
        command: that will run.
        ping_every_steps: steps from one in-band measurement of the links to the next; 0 for none.
        probe: settings of the probe beside these, for a run of a study.

    Raises:
        OptionError: there is a run of this name.
        OSError: the folder cannot be written.
    """
    runs.mkdir(parents=True, exist_ok=True)
    path = _new_folder(runs, name, command)
    settings = {
        "run": path.name,
        "purpose": "run",
        "directory": str(path),
        "command": redact_command(command),
        "working_directory": current_folder(),
        "ping_every_steps": ping_every_steps,
        **(probe or {}),
    }
    site = install(path, settings)["PYTHONPATH"]
    own = os.environ.get("PYTHONPATH")
    search = f"{site}{os.pathsep}{own}" if own else site
    return WatchedFolder(name=path.name, path=path, environment={**os.environ, "PYTHONPATH": search})


def change_settings(path: Path, changes: Mapping[str, Any]) -> None:
    """Change settings of a run's probe, for processes that start from now on.

    Raises:
        OSError: the folder cannot be written.
    """
    file = path / "settings.json"
    settings = {**json.loads(file.read_text(encoding="utf-8")), **changes}
    new = path / ".settings.json"
    new.write_text(json.dumps(settings, indent=2), encoding="utf-8")
    new.replace(file)


def make_run_folder(path: Path) -> None:
    """Make a folder that its group can read, whatever the umask: the agent may be in that group.

    A chmod afterwards would take the set-group-ID bit away that a shared folder hands on (chmod(2)).

    Raises:
        OSError: FileExistsError where there is one already.
    """
    before = os.umask(0o027)
    try:
        path.mkdir(mode=0o750)
    finally:
        os.umask(before)


def _new_folder(runs: Path, name: str | None, command: Sequence[str]) -> Path:
    for candidate in [name] if name else _made_up(command):
        path = runs / candidate
        try:
            make_run_folder(path)
        except FileExistsError:
            continue
        return path.absolute()
    mend = "choose another name, or remove its folder"
    raise OptionError(f"there is a run {name} already, in {runs}", where="--name", mend=mend)


def _made_up(command: Sequence[str]) -> Iterator[str]:
    scripts = (Path(token).stem for token in command if token.endswith((".py", ".sh")))
    base = next(scripts, Path(command[0]).stem)
    safe = "".join(
        letter if (letter.isascii() and letter.isalnum()) or letter in "._-" else "-" for letter in base
    )
    first = f"{safe.strip('.-_')[:40] or 'run'}-{time.strftime('%Y%m%d-%H%M%S')}"
    yield first
    yield from (f"{first}-{number}" for number in itertools.count(2))
