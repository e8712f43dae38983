"""Takes the argument list apart before typer sees it: our options, and the user's command after ``--``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from flyball.errors import CommandError

EXAMPLE: Final = "autotune -- deepspeed train.py --deepspeed_config ds.json"
RARE_OPTIONS: Final = frozenset(
    {
        "--allow-global-batch",
        "--allow-writes",
        "--budget",
        "--detailed-exitcode",
        "--dry-run",
        "--memory-limit-ratio",
        "--samples-from",
        "--space",
        "--trials",
    }
)
"""Options of ours that a training script hardly ever has: behind ``--`` they are probably misplaced."""


WITH_COMMAND: Final = frozenset({"autotune", "p2p", "run"})
"""Commands of flyball's that take a command of the user's behind ``--``."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arguments:
    """An argument list split at its first ``--``."""

    own: tuple[str, ...]
    """What typer parses."""
    command: tuple[str, ...] | None
    """The user's command; None where there was no ``--``."""


def split_arguments(arguments: Sequence[str], *, program: str) -> Arguments:
    """Split arguments at the first ``--``, which belongs to neither side, for commands that take a command.

    Those of flyball's other commands are left whole: there ``--`` has its usual meaning.
    """
    tokens = list(arguments)
    place = tokens.index("--") if "--" in tokens else len(tokens)
    if program == "flyball" and WITH_COMMAND.isdisjoint(tokens[:place]):
        return Arguments(own=tuple(tokens), command=None)
    command = tuple(tokens[place + 1 :]) if place < len(tokens) else None
    return Arguments(own=tuple(_with_resume_value(tokens[:place])), command=command)


def _with_resume_value(tokens: list[str]) -> list[str]:
    # typer has no option with an optional value: a bare --resume becomes one with an empty value.
    followers = [*tokens[1:], "--"]
    bare = [
        token == "--resume" and next_.startswith("-") for token, next_ in zip(tokens, followers, strict=False)
    ]
    return ["--resume=" if empty else token for token, empty in zip(tokens, bare, strict=True)]


def misplaced_options(command: Sequence[str]) -> list[str]:
    """Return those of flyball's own options that stand behind the ``--`` and so go to the user's script."""
    return [token for token in command if token.partition("=")[0] in RARE_OPTIONS]


def require_command(
    command: Sequence[str] | None,
    stray: Sequence[str],
    *,
    program: str = "autotune",
    purpose: str = "tune",
    example: str = EXAMPLE,
) -> tuple[str, ...]:
    """Return the command to tune, or to do something else with.

    Raises:
        CommandError: there is none, or it stands there without the ``--`` in front (``stray``).
    """
    if stray and command is None:
        mend = f"put -- in front of the command: {program} [OPTIONS] -- {' '.join(stray)}"
        what = f"the command to {purpose} is not marked off from {program}'s options"
        raise CommandError(what, mend=mend)
    if stray:
        mend = f"take it out or put it behind the --, as in: {example}"
        raise CommandError(f"{program} takes options only before the --", where=stray[0], mend=mend)
    if not command:
        raise CommandError(f"there is no command to {purpose}", mend=f"write it after --, as in: {example}")
    for token in command:
        try:
            token.encode()
        except UnicodeEncodeError as error:
            mend = "rename it, or set a UTF-8 locale"
            raise CommandError(f"{token!r} is not UTF-8 text", where="command", mend=mend) from error
    return tuple(command)
