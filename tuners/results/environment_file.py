"""``.deepspeed_env``: how variables reach other hosts, where DeepSpeed's launcher starts ranks on several.

The launcher reads ``NAME=value`` lines of the file that ``DS_ENV_FILE`` names, by default ``.deepspeed_env``
in the home folder and in the working folder (https://www.deepspeed.ai/getting-started, multi-node environment
variables); of the environment that it is started in it hands on little more than what begins with NCCL or
PYTHON.
"""

from collections.abc import Mapping
from pathlib import Path

NAME = ".deepspeed_env"
POINTER = "DS_ENV_FILE"


def environment_file(chosen: Mapping[str, str], *, user: Mapping[str, str]) -> str:
    """Return the file's text: what the user's own files set, and what was chosen in its place or besides.

    A line without ``=``, an empty one too, is left out: the launcher stops at it.
    """
    lines = {**user, **chosen}
    return "".join(f"{name}={value}\n" for name, value in sorted(lines.items()))


def users_own(*, home: Path, cwd: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return what the launcher reads of the user's own files now, the working folder's before the home's."""
    name = environment.get(POINTER) or NAME
    found: dict[str, str] = {}
    for folder in (home, cwd):
        try:
            text = (folder / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
        found.update((key.strip(), value.strip()) for key, _, value in pairs)
    return found
