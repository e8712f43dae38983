"""Takes a launch command apart: the launcher, its own options, the script and the script's arguments.

The tables follow the launchers' own parsers: deepspeed 0.19 ``launcher/runner.py``, torch 2.13
``distributed/run.py``, accelerate 1.x ``commands/launch.py`` and ``python --help``. Each lists the options
that take no value; every other option of that launcher takes one.
"""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flyball.errors import CommandError

_FLAG_NAMES = {
    "deepspeed": "--help -h --module --no_python --no_local_rank --no_ssh --no_ssh_check --force_multi"
    " --save_pid --bind_cores_to_rank --quiet -q",
    "torchrun": "--help -h --use_env --standalone --module -m --no_python --run_path --virtual_local_rank",
    "accelerate": "--help -h --quiet -q --cpu --multi_gpu --tpu --enable_cpu_affinity --dynamo_use_fullgraph"
    " --dynamo_use_dynamic --dynamo_use_regional_compilation --use_deepspeed --use_fsdp"
    " --use_parallelism_config --use_megatron_lm --same_network --module -m --no_python --tpu_cluster"
    " --no_tpu_cluster --tpu_use_sudo --downcast_bf16 --fp8_use_autocast_during_eval --debug",
}
_FLAGS = {launcher: frozenset(names.split()) for launcher, names in _FLAG_NAMES.items()}
_MODULE_FLAGS = {
    "deepspeed": ("--module",),
    "torchrun": ("--module", "-m"),
    "accelerate": ("--module", "-m"),
}
_LAUNCHER_MODULES = {
    "deepspeed": "deepspeed",
    "deepspeed.launcher.runner": "deepspeed",
    "torch.distributed.run": "torchrun",
    "torch.distributed.launch": "torchrun",
    "accelerate.commands.launch": "accelerate",
    "accelerate.commands.accelerate_cli": "accelerate",
}
_LAUNCHER_NAMES = {
    "deepspeed": "deepspeed",
    "deepspeed.pt": "deepspeed",
    "ds": "deepspeed",
    "torchrun": "torchrun",
    "accelerate": "accelerate",
    "accelerate-launch": "accelerate",
}
_PYTHON = re.compile(r"(python|pypy)[\d.]*t?")
_PYTHON_VALUED = ("-W", "-X", "--check-hash-based-pycs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One option of the launcher, where it stands in the tokens."""

    name: str
    """As written, underscores for inner hyphens: ``--nproc_per_node``."""
    value: str | None
    index: int
    """Of the token that holds the name."""
    inline: bool
    """Written ``--name=value`` in one token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """A command by its parts; ``tokens[script_index:]`` is the script (or module) and its arguments."""

    tokens: tuple[str, ...]
    launcher: str
    """``deepspeed``, ``torchrun``, ``accelerate`` or ``python``."""
    options_start: int
    """Where the launcher's own options begin."""
    options: tuple[Option, ...]
    script_index: int
    is_module: bool
    interpreter: str
    """Absolute path of the Python that runs the workers."""

    def option(self, *names: str) -> Option | None:
        """The last of the launcher's options with one of these names, as argparse would take it."""
        return next((option for option in reversed(self.options) if option.name in names), None)

    @property
    def script(self) -> str:
        """The script's path or the module's name as written."""
        return self.tokens[self.script_index]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What follows the script."""
        return self.tokens[self.script_index + 1 :]


def dissect(tokens: Sequence[str], *, cwd: Path) -> Invocation:
    """Take ``tokens`` apart.

    Raises:
        CommandError: nothing to run, an executable that does not exist, or a launcher without a script.
    """
    if not tokens:
        raise CommandError(
            "no command to tune",
            mend="write it after --, for example autotune -- deepspeed train.py --deepspeed_config ds.json",
        )
    executable = _executable(tokens[0], cwd)
    launcher = _LAUNCHER_NAMES.get(Path(tokens[0]).name)
    if launcher is not None:
        start = _subcommand(tokens, launcher, 1)
        return _launched(tokens, launcher, start, _shebang(executable) or executable)
    if _PYTHON.fullmatch(Path(tokens[0]).name):
        return _python(tokens, executable)
    interpreter = _shebang(executable)
    if interpreter is None:
        raise CommandError(
            f"{tokens[0]} is neither a Python script nor a launcher that flyball knows",
            where="command",
            mend="start the training with deepspeed, torchrun, accelerate launch or python",
        )
    return Invocation(
        tokens=tuple(tokens),
        launcher="python",
        options_start=0,
        options=(),
        script_index=0,
        is_module=False,
        interpreter=interpreter,
    )


def _executable(name: str, cwd: Path) -> str:
    path = str(cwd / name) if os.sep in name else name
    found = shutil.which(path)
    if found is None:
        raise CommandError(
            f"there is no executable {name}",
            where="command",
            mend="check the spelling, or activate the environment that has it",
        )
    return str(Path(found).absolute())


def _shebang(executable: str) -> str | None:
    """The Python named in the first line of a script, or None."""
    with Path(executable).open("rb") as file:
        first = file.readline(512)
    words = first[2:].decode("utf-8", "replace").split() if first.startswith(b"#!") else []
    if words and Path(words[0]).name == "env":
        words = [shutil.which(word) or word for word in words[1:] if not word.startswith("-")]
    python = next((word for word in words if _PYTHON.fullmatch(Path(word).name)), None)
    if python is None and words and first.startswith(b"#!/bin/sh"):
        # pip writes `exec /long/path/python` into a shell trampoline when the path is too long for a shebang
        body = Path(executable).read_text(errors="replace")[:2048]
        trampoline = re.search(r"exec'?\s+\"?(/[^\s\"]*python[\d.]*)", body)
        python = trampoline.group(1) if trampoline else None
    return python


def _subcommand(tokens: Sequence[str], launcher: str, start: int) -> int:
    if launcher == "accelerate" and Path(tokens[start - 1]).name in (
        "accelerate",
        "accelerate.commands.accelerate_cli",
    ):
        if list(tokens[start : start + 1]) != ["launch"]:
            raise CommandError(
                "accelerate starts a training only by `accelerate launch`",
                where="command",
                mend="write accelerate launch train.py",
            )
        return start + 1
    return start


def _python(tokens: Sequence[str], interpreter: str) -> Invocation:
    index = 1
    while index < len(tokens) and tokens[index].startswith("-") and tokens[index] != "-":
        token = tokens[index]
        if token.startswith("-c"):
            raise CommandError("python -c holds no script to tune", where="command", mend="put it in a file")
        if token == "-m" or (re.fullmatch(r"-[A-Za-z]+m", token) and not token.startswith(("-W", "-X"))):
            return _python_module(tokens, index + 1, interpreter)
        index += 2 if token in _PYTHON_VALUED else 1
    _need_script(tokens, index)
    return _parts(tokens, "python", 1, (), index, False, interpreter)


def _python_module(tokens: Sequence[str], index: int, interpreter: str) -> Invocation:
    _need_script(tokens, index)
    launcher = _LAUNCHER_MODULES.get(tokens[index])
    if launcher is None:
        return _parts(tokens, "python", 1, (), index, True, interpreter)
    return _launched(tokens, launcher, _subcommand(tokens, launcher, index + 1), interpreter)


def _launched(tokens: Sequence[str], launcher: str, start: int, interpreter: str) -> Invocation:
    options: list[Option] = []
    index = start
    while index < len(tokens) and tokens[index].startswith("-") and tokens[index] != "--":
        written, inline, value = tokens[index].partition("=")
        name = written[:2] + written[2:].replace("-", "_")
        takes_value = not inline and name not in _FLAGS[launcher] and not _attached_short(written)
        if takes_value:
            value = tokens[index + 1] if index + 1 < len(tokens) else ""
        known = value if inline or takes_value else None
        options.append(Option(name=name, value=known, index=index, inline=bool(inline)))
        index += 2 if takes_value else 1
    index += list(tokens[index : index + 1]) == ["--"]
    if any(option.name == "--no_python" for option in options):
        raise CommandError(
            "a launcher that starts no Python is not supported",
            where="--no_python",
            mend="leave it out, and name the Python script behind the launcher",
        )
    if any(option.name == "--force_multi" for option in options):
        raise CommandError(
            "ranks that are started through pdsh or ssh cannot be watched or ended",
            where="--force_multi",
            mend="leave it out",
        )
    _need_script(tokens, index)
    module = any(option.name in _MODULE_FLAGS[launcher] for option in options)
    return _parts(tokens, launcher, start, tuple(options), index, module, interpreter)


def _attached_short(written: str) -> bool:
    return not written.startswith("--") and len(written) > 2


def _need_script(tokens: Sequence[str], index: int) -> None:
    if index >= len(tokens):
        raise CommandError(
            "the command names no training script", where="command", mend="add the script after the launcher"
        )


def _parts(
    tokens: Sequence[str],
    launcher: str,
    start: int,
    options: tuple[Option, ...],
    script_index: int,
    is_module: bool,
    interpreter: str,
) -> Invocation:
    return Invocation(
        tokens=tuple(tokens),
        launcher=launcher,
        options_start=start,
        options=options,
        script_index=script_index,
        is_module=is_module,
        interpreter=interpreter,
    )
