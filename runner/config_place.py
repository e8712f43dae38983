"""Finds where a command takes its DeepSpeed config from."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flyball.errors import CommandError
from flyball.runner.invocation import Invocation

PLACEHOLDER = "{ds_config}"
_SCRIPT_OPTIONS = ("--deepspeed_config", "--deepspeed", "--ds_config", "--deepspeed_config_file")
_LAUNCHER_OPTIONS = ("--deepspeed_config_file",)
_DEEPSPEED_NAMES = frozenset(
    (
        "deepspeed",
        "accelerate",
        "TrainingArguments",
        "Trainer",
        "HfArgumentParser",
        "Accelerator",
        "lightning",
    )
)
_TRAINER_NAMES = frozenset(
    ("TrainingArguments", "Seq2SeqTrainingArguments", "Trainer", "Seq2SeqTrainer", "HfArgumentParser", "trl")
)
_TRAINER_MAPS = {
    "train_micro_batch_size_per_gpu": "--per_device_train_batch_size",
    "gradient_accumulation_steps": "--gradient_accumulation_steps",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigPlace:
    """Where the config of a trial goes, and the user's own file."""

    kind: str
    """``argument``, ``placeholder`` or ``probe``."""
    path: Path | None
    token: int | None = None
    """Index of the token that holds the path (``argument`` only)."""
    inline: bool = False
    """The token reads ``--option=path``."""


def find_config(invocation: Invocation, *, config: Path | None, cwd: Path) -> ConfigPlace:
    """Return the place; ``config`` is the user's ``--config``.

    Raises:
        CommandError: no place, or a place without a file to start from.
    """
    if any(PLACEHOLDER in token for token in invocation.tokens):
        other = _argument(invocation, cwd)
        if other is not None and PLACEHOLDER not in str(other.path):
            raise _two_configs(PLACEHOLDER, str(other.path))
        if config is None:
            raise CommandError(
                f"{PLACEHOLDER} stands in the command, and no config to start from",
                where="command",
                mend="add --config FILE",
            )
        return ConfigPlace(kind="placeholder", path=config)
    found = _argument(invocation, cwd)
    if found is not None:
        return found if config is None else _with_path(found, config)
    if config is not None or _mentions_deepspeed(invocation, cwd):
        return ConfigPlace(kind="probe", path=config)
    raise CommandError(
        f"the command has no place for a DeepSpeed config and {invocation.script} does not mention DeepSpeed",
        where="command",
        mend=f"add `--deepspeed_config {PLACEHOLDER}`, or --config FILE to let the probe substitute it",
    )


def names_config(invocation: Invocation, cwd: Path) -> bool:
    """Whether the command itself has a place for the config."""
    return any(PLACEHOLDER in token for token in invocation.tokens) or _argument(invocation, cwd) is not None


def _with_path(place: ConfigPlace, config: Path) -> ConfigPlace:
    return ConfigPlace(kind=place.kind, path=config, token=place.token, inline=place.inline)


def _argument(invocation: Invocation, cwd: Path) -> ConfigPlace | None:
    launcher_option = invocation.option(*_LAUNCHER_OPTIONS)
    if launcher_option is not None and launcher_option.value:
        index = launcher_option.index + (0 if launcher_option.inline else 1)
        return _existing(index, launcher_option.value, launcher_option.inline, cwd)
    start = invocation.script_index + 1
    found: dict[str, ConfigPlace] = {}
    for offset, token in enumerate(invocation.arguments):
        name, inline, value = token.partition("=")
        option = name.replace("-", "_").replace("__", "--", 1)
        if option not in _SCRIPT_OPTIONS:
            continue
        following = "".join(invocation.arguments[offset + 1 : offset + 2])
        given = value if inline else following
        if _is_config(option, given, cwd):
            # argparse takes the last of an option that stands twice
            found[option] = _existing(start + offset + (not inline), given, bool(inline), cwd)
        elif option != "--deepspeed" and not given.lstrip().startswith("{"):
            raise CommandError(f"{name} names no file", where="command", mend=f"write {name} ds.json")
    places = {place.path: place for place in found.values()}
    if len(places) > 1:
        raise _two_configs(*(str(path) for path in places))
    return next(reversed(found.values()), None)


def _two_configs(one: str, other: str, *more: str) -> CommandError:
    return CommandError(
        f"the command names two configs, {one} and {other}", where="command", mend="leave out one of them"
    )


def _is_config(name: str, value: str, cwd: Path) -> bool:
    """Whether ``value`` is the option's file; a bare ``--deepspeed`` is a flag in many scripts."""
    if value.startswith("-") or not value or value.lstrip().startswith("{"):
        return PLACEHOLDER in value
    if name == "--deepspeed":
        return value.endswith(".json") or (cwd / value).is_file()
    return True


def _existing(index: int, value: str, inline: bool, cwd: Path) -> ConfigPlace:
    path = (cwd / value).absolute()
    return ConfigPlace(kind="argument", path=path, token=index, inline=inline)


def _mentions_deepspeed(invocation: Invocation, cwd: Path) -> bool:
    """Whether a hard-coded config is plausible: the script's source names DeepSpeed or a Trainer over it."""
    if invocation.is_module:
        return True
    if invocation.option("--use_deepspeed") is not None:
        return True
    return bool(_names(script_path(invocation, cwd)) & _DEEPSPEED_NAMES)


def script_path(invocation: Invocation, cwd: Path) -> Path:
    """The script's absolute path."""
    return (cwd / invocation.script).absolute()


def _names(script: Path) -> set[str]:
    """Names imported or used in a script; of one that Python cannot parse, its words."""
    source = _source(script)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set(source.replace(".", " ").replace("(", " ").split())
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Name):
            names.add(node.id)
    # a training script that imports a local module may well build its engine there
    return names | _local_names(tree, script.parent)


def _source(script: Path) -> str:
    path = script / "__main__.py" if script.is_dir() else script
    try:
        return path.read_text(errors="replace")
    except OSError as error:
        raise CommandError(f"the script cannot be read: {error.strerror}", where=str(path)) from error


def _local_names(tree: ast.Module, folder: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        for module in modules:
            place = folder / module.replace(".", "/")
            parts = [place.with_name(place.name + ".py"), place / "__init__.py"]
            if isinstance(node, ast.ImportFrom):
                parts += [place / f"{alias.name}.py" for alias in node.names if alias.name != "*"]
            if any(part.is_file() and "deepspeed" in part.read_text(errors="replace") for part in parts):
                names.add("deepspeed")
    return names


def trainer_maps(invocation: Invocation, path: Path | None, cwd: Path) -> Mapping[str, str]:
    """The options that must move with the config, where transformers' Trainer reads both.

    It fills "auto" values in from its options, and refuses a config that says something else than they do;
    where the probe gives the config, the Trainer goes on counting by its own options.
    """
    if not _is_trainer(invocation, cwd):
        return {}
    given = {
        token.partition("=")[0].replace("-", "_").replace("__", "--", 1) for token in invocation.arguments
    }
    config = _plain_config(path)
    found = {
        key: option
        for key, option in _TRAINER_MAPS.items()
        if option in given or (config is not None and config.get(key) == "auto")
    }
    # its own parser knows both options, and a micro batch moves the accumulation
    whole = not invocation.is_module and "HfArgumentParser" in _names(script_path(invocation, cwd))
    return dict(_TRAINER_MAPS) if found and whole else found


def _plain_config(path: Path | None) -> dict[str, Any] | None:
    """The config, None where it cannot be read: its faults are told later."""
    if path is None:
        return None
    try:
        if not path.is_file():  # a pipe gives its text only once
            return None
        config = json.loads(path.read_text())
    except (ValueError, RecursionError, OSError):
        return None
    return config if isinstance(config, dict) else None


def _is_trainer(invocation: Invocation, cwd: Path) -> bool:
    """Whether the script parses TrainingArguments, by its source or by the options in the command."""
    if any(token.partition("=")[0] in _TRAINER_MAPS.values() for token in invocation.arguments):
        return True
    return not invocation.is_module and bool(_names(script_path(invocation, cwd)) & _TRAINER_NAMES)
