"""The user's command: where its script, config and outputs are, and how a trial is rendered from it."""

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flyball.errors import CommandError
from flyball.runner.accelerate_file import with_config_option
from flyball.runner.config_place import (
    PLACEHOLDER,
    ConfigPlace,
    find_config,
    names_config,
    script_path,
    trainer_maps,
)
from flyball.runner.invocation import Invocation, dissect
from flyball.runner.rank_count import rank_count

TRIAL_PLACEHOLDER = "{trial_dir}"
_OUTPUT_NAMES = (
    "output_dir output_path out_dir output save_dir save_path save logging_dir log_dir"
    " checkpoint_dir ckpt_dir results_dir tensorboard_dir"
)
_OUTPUT_OPTIONS = frozenset(f"--{name}" for name in _OUTPUT_NAMES.split())
_INPUT_TOO = frozenset(("--checkpoint_dir", "--ckpt_dir", "--save_path"))
"""Of these: what often names what a script reads."""
_NO_FOLDER = re.compile(r"[+-]?\d+(\.\d*)?|true|false|yes|no|none", re.IGNORECASE)
"""What such an option holds where it is an interval or a switch."""
_RESUME_OPTIONS = frozenset(("--resume_from_checkpoint",))


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command that can be tuned; made by :func:`parse_command`."""

    tokens: tuple[str, ...]
    launcher: str
    """``deepspeed``, ``torchrun``, ``accelerate`` or ``python``."""
    interpreter: str
    """Absolute path of the Python that runs the workers."""
    script: Path | None
    module: str | None
    config_place: str
    """``argument``, ``placeholder`` or ``probe`` (the script hard-codes its config)."""
    config_path: Path | None
    """The user's own file; None where the script hard-codes a dict."""
    maps: Mapping[str, str]
    """Key path of the DeepSpeed config to the option of the command that must move with it."""
    ranks: int
    cwd: Path
    invocation: Invocation
    place: ConfigPlace

    def render(self, *, trial_dir: Path, config_path: Path, arguments: Mapping[str, str]) -> list[str]:
        """Return the tokens of one trial: its config, ``arguments`` set, outputs sent to its own folder.

        ``arguments`` maps an option of the script to its value, empty for a bare flag; one that is not there
        yet is appended.
        """
        tokens = self._placed(config_path, str(trial_dir))
        head, script = tokens[: self.invocation.script_index + 1], tokens[self.invocation.script_index + 1 :]
        return head + _redirected(_with_arguments(script, arguments), trial_dir / "output", self.cwd)

    def option(self, name: str) -> str | None:
        """The value of one of the script's options, None where it is not given."""
        script = self.tokens[self.invocation.script_index + 1 :]
        index = _find(script, name)
        return None if index is None else _option(script, index)[1]

    @property
    def redirected(self) -> tuple[str, ...]:
        """The script's options whose folder a trial replaces by its own."""
        script = self.tokens[self.invocation.script_index + 1 :]
        found = (_option(script, index) for index in range(len(script)))
        return tuple(name for name, value, _ in found if _is_output(name, value, self.cwd))

    @property
    def lasting(self) -> tuple[str, ...]:
        """The tokens without the values of options that name where a run writes or goes on from.

        Of a job that runs every day they are what makes it the same job.
        """
        start, tokens = self.invocation.script_index + 1, list(self.tokens)
        for name in _OUTPUT_OPTIONS | _RESUME_OPTIONS:
            index = _find(tokens[start:], name)
            if index is not None:
                option, _, length = _option(tokens[start:], index)
                tokens[start + index : start + index + length] = [option]
        return tuple(tokens)

    @property
    def has_placeholders(self) -> bool:
        """Whether the user left places for the config or for the trial's folder."""
        return any(PLACEHOLDER in token or TRIAL_PLACEHOLDER in token for token in self.tokens)

    def render_optimal(self, config_path: Path, arguments: Mapping[str, str]) -> list[str]:
        """Return the tokens that the user runs with the recommended config: nothing is redirected."""
        tokens = self._placed(config_path, str(config_path.parent))
        split = self.invocation.script_index + 1
        return tokens[:split] + _with_arguments(tokens[split:], arguments)

    def _placed(self, config_path: Path, trial_dir: str) -> list[str]:
        tokens = list(self.tokens)
        if self.place.token is not None:
            option = tokens[self.place.token].partition("=")[0] + "=" if self.place.inline else ""
            tokens[self.place.token] = f"{option}{config_path}"
        return [
            token.replace(PLACEHOLDER, str(config_path)).replace(TRIAL_PLACEHOLDER, trial_dir)
            for token in tokens
        ]


def parse_command(
    tokens: Sequence[str],
    *,
    config: Path | None = None,
    maps: Mapping[str, str] | None = None,
    cwd: Path,
) -> Command:
    """Understand a training command.

    Args:
        tokens: the command as the shell would pass it.
        config: the user's ``--config``, which overrides the file named in the command.
        maps: the user's ``--map``, key path of the config to option; they win over what is found.
        cwd: where the command runs; relative paths in it start there.

    Raises:
        CommandError: an executable or script that does not exist, or no place for a config.
    """
    invocation = dissect(tokens, cwd=cwd)
    named = None if names_config(invocation, cwd) else with_config_option(invocation, os.environ)
    invocation = dissect(named, cwd=cwd) if named else invocation
    _check_script(invocation, cwd)
    absolute = (cwd / config).absolute() if config is not None else None
    place = find_config(invocation, config=absolute, cwd=cwd)
    return Command(
        tokens=invocation.tokens,
        launcher=invocation.launcher,
        interpreter=invocation.interpreter,
        script=None if invocation.is_module else script_path(invocation, cwd),
        module=invocation.script if invocation.is_module else None,
        config_place=place.kind,
        config_path=place.path,
        maps={**trainer_maps(invocation, place.path, cwd), **(maps or {})},
        ranks=rank_count(invocation, os.environ),
        cwd=cwd,
        invocation=invocation,
        place=place,
    )


def shell_line(tokens: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    """Return a line for ``sh``: quoted tokens, after the variables that the trial sets."""
    variables = [f"{name}={value}" for name, value in (environment or {}).items()]
    return shlex.join([*(["env", *variables] if variables else []), *tokens]) + "\n"


def _check_script(invocation: Invocation, cwd: Path) -> None:
    if invocation.is_module:
        return
    path = script_path(invocation, cwd)
    if not path.is_file() and not (path / "__main__.py").is_file():
        raise CommandError(
            f"there is no script {invocation.script}",
            where="command",
            mend=f"check the path, it is taken from {cwd}",
        )


def _underscored(option: str) -> str:
    return option[:2] + option[2:].replace("-", "_")


def _with_arguments(script: list[str], arguments: Mapping[str, str]) -> list[str]:
    tokens = list(script)
    for option, value in arguments.items():
        index = _find(tokens, option)
        if value == "":
            tokens += [] if index is not None else [option]
        elif index is None:
            tokens += [option, str(value)]
        elif "=" in tokens[index]:
            tokens[index] = f"{tokens[index].partition('=')[0]}={value}"
        else:
            tokens[index + 1 : index + 2] = [str(value)]
    return tokens


def _find(tokens: Sequence[str], option: str) -> int | None:
    """The last token that sets ``option``, hyphens and underscores alike."""
    wanted = _underscored(option)
    places = [i for i, token in enumerate(tokens) if _underscored(token.partition("=")[0]) == wanted]
    return places[-1] if places else None


def _option(tokens: Sequence[str], index: int) -> tuple[str, str, int]:
    """The token at ``index`` as an option: its name, its value ("" for none), how many tokens they are."""
    name, inline, value = tokens[index].partition("=")
    if inline:
        return name, value, 1
    following = tokens[index + 1] if index + 1 < len(tokens) else ""
    return (name, "", 1) if not following or re.match(r"--?[A-Za-z]", following) else (name, following, 2)


def _is_output(name: str, value: str, cwd: Path) -> bool:
    """Whether an option names a folder or file that the script writes to.

    A checkpoint folder that holds something may be what the script starts from, and stays: should the script
    write there, the guard says so.
    """
    option = _underscored(name)
    if option not in _OUTPUT_OPTIONS or not value or _NO_FOLDER.fullmatch(value):
        return False
    return option not in _INPUT_TOO or not _holds_something(cwd / value)


def _holds_something(path: Path) -> bool:
    try:
        return path.is_dir() and any(path.iterdir())
    except OSError:
        return True


def _redirected(tokens: list[str], output: Path, cwd: Path) -> list[str]:
    """Send the values of known output options to ``output``, and drop what resumes from older work."""
    result: list[str] = []
    index = 0
    while index < len(tokens):
        name, value, length = _option(tokens, index)
        if _is_output(name, value, cwd):
            target = str(_target(value, output))
            result += [f"{name}={target}"] if length == 1 else [name, target]
        elif _underscored(name) not in _RESUME_OPTIONS:
            result.append(tokens[index])
            length = 1
        index += length
    return result


def _target(value: str, output: Path) -> Path:
    """Where an output goes: a path already in the trial's folder stays; a file keeps its name."""
    path = Path(value)
    if path.is_absolute() and output.parent in path.parents:
        return path
    return output / path.name if path.suffix else output
