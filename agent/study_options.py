"""Checks what typer cannot: values of our own options against each other and against the machine."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from flyball.agent.durations import parse_duration
from flyball.errors import OptionError
from flyball.tuners.objective import LEAST_THROUGHPUT_RATIO, Objective

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KEY_PATH = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*")


def check_name(name: str | None, *, what: str = "an experiment", where: str = "--name") -> str | None:
    """Return ``name`` when it can be a folder's name too, else raise OptionError."""
    if name is None or _NAME.fullmatch(name):
        return name
    mend = "use up to 64 letters, digits, dots, dashes and underscores, the first a letter or digit"
    raise OptionError(f"'{name}' cannot name {what}", where=where, mend=mend)


def check_choice(text: str, choices: Sequence[str], *, where: str) -> str:
    """Return ``text`` when it is one of ``choices``, else raise OptionError; ``where`` is the option."""
    if text in choices:
        return text
    raise OptionError(f"'{text}' does not fit", where=where, mend=f"write one of: {', '.join(choices)}")


def parse_memory_limit_ratio(text: str) -> float:
    """Return the share of the device's memory that ``text`` stands for: above 0, at most 1.

    Raises:
        OptionError: it is no number or out of range.
    """
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if 0 < ratio <= 1:
        return ratio
    mend = "write a share of the device's memory above 0 and up to 1, as in 0.90"
    raise OptionError(f"'{text}' is no share", where="--memory-limit-ratio", mend=mend)


def parse_objective(text: str | None) -> Objective:
    """Return the objective that ``text`` names, throughput for None; else OptionError."""
    if text is None:
        return Objective.THROUGHPUT
    return Objective(check_choice(text, [each.value for each in Objective], where="--objective"))


def parse_least_throughput(text: str | None, objective: Objective) -> float:
    """Return the share of the user's throughput that ``text`` stands for: above 0, at most 1.

    Raises:
        OptionError: it is no number or out of range, or the objective is not energy.
    """
    where = "--least-throughput"
    if text is None:
        return LEAST_THROUGHPUT_RATIO
    if objective is not Objective.ENERGY:
        mend = f"leave out {where}, or add --objective energy"
        raise OptionError("only energy is saved at the cost of throughput", where=where, mend=mend)
    try:
        ratio = float(text)
    except ValueError:
        ratio = math.nan
    if 0 < ratio <= 1:
        return ratio
    mend = "write a share of your own throughput above 0 and up to 1, as in 0.80"
    raise OptionError(f"'{text}' is no share", where=where, mend=mend)


def parse_whole(text: str | None, *, where: str, least: int, most: int | None = None) -> int | None:
    """Return the whole number that ``text`` stands for, None for None.

    Raises:
        OptionError: it is no whole number, or lies outside ``least`` to ``most``; ``where`` is the option.
    """
    if text is None:
        return None
    limits = f"of at least {least}" if most is None else f"from {least} to {most}"
    number = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    if number is None or number < least or (most is not None and number > most):
        raise OptionError(f"'{text}' does not fit", where=where, mend=f"write a whole number {limits}")
    return number


def parse_ablation(text: str | None) -> float | None:
    """Return the seconds that ``text`` stands for: 0 for ``off``, None for None; else OptionError."""
    if text is None or text == "off":
        return None if text is None else 0.0
    return parse_duration(text, where="--ablation")


def parse_maps(pairs: Sequence[str]) -> dict[str, str]:
    """Return config key path to command option from ``KEY=OPTION`` pairs.

    Raises:
        OptionError: a pair is malformed, or a key or an option stands in two of them.
    """
    example = "write KEY=OPTION, as in train_micro_batch_size_per_gpu=--per_device_train_batch_size"
    maps: dict[str, str] = {}
    for pair in pairs:
        key, _, option = pair.partition("=")
        if not _KEY_PATH.fullmatch(key) or not re.fullmatch(r"--?[A-Za-z][\w.-]*", option):
            raise OptionError(f"'{pair}' maps nothing", where="--map", mend=example)
        if key in maps:
            raise OptionError(f"{key} is mapped twice", where="--map", mend="give each key one option")
        if option in maps.values():
            raise OptionError(f"{option} is mapped twice", where="--map", mend="give each option one key")
        maps[key] = option
    return maps


def absolute_folder(path: Path | None, cwd: Path, *, where: str) -> Path | None:
    """Return ``path`` made absolute; what is there may be a folder or nothing yet, else OptionError."""
    if path is None:
        return None
    whole = absolute(path, cwd, where=where)
    try:
        blocking = next((part for part in (whole, *whole.parents) if part.exists()), whole)
        blocked = blocking.exists() and not blocking.is_dir()
    except OSError as error:
        mend = "name another folder"
        raise OptionError(f"{whole} cannot be used: {error.strerror}", where=where, mend=mend) from error
    if blocked:
        raise OptionError(
            f"{blocking} is not a folder", where=where, mend="name a folder, there or to be made"
        )
    return whole


def absolute(path: Path, cwd: Path, *, where: str) -> Path:
    """Return ``path`` with ``~`` expanded and seen from ``cwd``, links kept as they are.

    Raises:
        OptionError: its user does not exist; ``where`` is the option.
    """
    try:
        return cwd / path.expanduser()
    except RuntimeError as error:
        raise OptionError(
            f"{path}: there is no such user", where=where, mend="write the folder in full"
        ) from error


def current_folder() -> Path:
    """Return the folder that the user is in; OptionError where it was removed meanwhile."""
    try:
        return Path.cwd()
    except OSError as error:
        raise OptionError("the current folder is gone", where="cwd", mend="cd to one that exists") from error


def space_path(path: Path, cwd: Path) -> Path:
    """Return where a space lies; the bare name of a bundled one stays as it is where no such file is."""
    from flyball.tuners.space.space_file import bundled

    whole = absolute(path, cwd, where="--space")
    return path if str(path) in bundled() and not whole.exists() else whole


def policy_files(given: Sequence[str] | None, cwd: Path) -> tuple[str, ...]:
    """Return the policy files of a study; ``default`` where none is given, and as it stands.

    Raises:
        OptionError: a path's user does not exist.
    """
    names = given or ("default",)
    return tuple(
        name if name == "default" else str(absolute(Path(name), cwd, where="--policies")) for name in names
    )


def check_resumed(given: Mapping[str, object]) -> None:
    """Raise OptionError for what a resumed experiment keeps, by the option's name, where it was given."""
    for option, value in given.items():
        if value:
            mend = f"leave out {option}, or start anew without --resume"
            raise OptionError("a resumed experiment keeps what it was started with", where=option, mend=mend)


def check_together(*, dry_run: bool, as_json: bool, resume: str | None, name: str | None) -> None:
    """Raise OptionError for options that contradict each other."""
    if dry_run and as_json:
        raise OptionError(
            "a dry run recommends nothing", where="--json", mend="leave out --json or --dry-run"
        )
    if dry_run and resume is not None:
        mend = "leave out --resume or --dry-run"
        raise OptionError("a dry run launches nothing, a resumed study does", where="--dry-run", mend=mend)
    if resume is not None and name is not None:
        mend = "leave out --name, or start anew without --resume"
        raise OptionError("a resumed experiment has its name already", where="--name", mend=mend)
