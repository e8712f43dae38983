"""Finds where a command takes its DeepSpeed config from."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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


def _with_path(place: ConfigPlace, config: Path) -> ConfigPlace:
    return ConfigPlace(kind=place.kind, path=config, token=place.token, inline=place.inline)


def _argument(invocation: Invocation, cwd: Path) -> ConfigPlace | None:
    launcher_option = invocation.option(*_LAUNCHER_OPTIONS)
    if launcher_option is not None and launcher_option.value:
        index = launcher_option.index + (0 if launcher_option.inline else 1)
        return _existing(index, launcher_option.value, launcher_option.inline, cwd)
    start = invocation.script_index + 1
    for offset, token in enumerate(invocation.arguments):
        name, inline, value = token.partition("=")
        if name.replace("-", "_").replace("__", "--", 1) not in _SCRIPT_OPTIONS:
            continue
        if inline:
            if _is_config(name, value, cwd):
                return _existing(start + offset, value, True, cwd)
        elif offset + 1 < len(invocation.arguments):
            following = invocation.arguments[offset + 1]
            if _is_config(name, following, cwd):
                return _existing(start + offset + 1, following, False, cwd)
    return None


def _is_config(name: str, value: str, cwd: Path) -> bool:
    """Whether ``value`` is the option's file; a bare ``--deepspeed`` is a flag in many scripts."""
    if value.startswith("-") or not value:
        return False
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
    source = script.read_text(errors="replace")
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


def _local_names(tree: ast.Module, folder: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
        for module in modules:
            path = folder / (module.replace(".", "/") + ".py")
            if path.is_file() and "deepspeed" in path.read_text(errors="replace"):
                names.add("deepspeed")
    return names


def trainer_maps(invocation: Invocation, path: Path | None, cwd: Path) -> Mapping[str, str]:
    """The options that must move with the config: transformers' Trainer with "auto" values in the config."""
    if path is None or not path.is_file() or not _is_trainer(invocation, cwd):
        return {}
    try:
        config = json.loads(path.read_text())
    except ValueError:
        return {}
    if not isinstance(config, dict):
        return {}
    return {key: option for key, option in _TRAINER_MAPS.items() if config.get(key) == "auto"}


def _is_trainer(invocation: Invocation, cwd: Path) -> bool:
    """Whether the script parses TrainingArguments, by its source or by the options in the command."""
    if any(token.partition("=")[0] in _TRAINER_MAPS.values() for token in invocation.arguments):
        return True
    return not invocation.is_module and bool(_names(script_path(invocation, cwd)) & _TRAINER_NAMES)
