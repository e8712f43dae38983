"""Trial only: which paths a child process would write, by its command line.

Audit events show the command of a child, not what it does. Those of the tools that copy, move and remove
files say it themselves, also inside ``sh -c``.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
WRAPPERS = ("builtin", "command", "env", "exec", "nice", "nohup", "sudo", "time")
EVERY_OPERAND = ("rm", "shred", "tee", "truncate", "unlink")
LAST_OPERAND = ("cp", "ln", "mv", "rsync")
TARGET = ("-t", "--target-directory")
VALUED = {
    **dict.fromkeys(("cp", "ln", "mv"), ("-S", "--suffix", *TARGET)),
    "shred": ("-n", "-s", "--iterations", "--size"),
    "truncate": ("-r", "-s", "--reference", "--size"),
}
"""Options whose value stands in a token of its own."""
REMOTE = re.compile(r"[^/]+:|rsync://")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")


def writes(arguments: Any, folder: Any = None) -> list[tuple[str, str]]:
    """Return ``(program, absolute path)`` of what a command would write or remove.

    Args:
        arguments: a command line as a list, or a text for the shell.
        folder: where it runs; the current one for None.
    """
    where = os.path.abspath(os.fsdecode(folder)) if folder is not None else os.getcwd()
    try:
        if isinstance(arguments, (str, bytes)):
            return list(_script(os.fsdecode(arguments), where))
        return list(_command([os.fsdecode(part) for part in arguments], where))
    except (TypeError, ValueError):  # nothing that could be run, or quotes that do not close
        return []


def _script(text: str, folder: str) -> Iterator[tuple[str, str]]:
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for token in [*lexer, ";"]:
        if token.startswith(">") or token == "&>":
            redirected = not token.endswith("&")  # >&2 names a descriptor
        elif redirected:
            redirected = False
            yield from (("sh", path) for path in _paths(token, folder))
        elif set(token) <= set(";&|()"):
            yield from _command(_expanded(words, folder), folder)
            if words[:1] == ["cd"] and len(words) > 1:
                folder = os.path.join(folder, _variables(words[1]))
            words = []
        else:
            words.append(token)


def _variables(word: str) -> str:
    return os.path.expandvars(os.path.expanduser(word))


def _paths(word: str, folder: str) -> list[str]:
    path = os.path.join(folder, _variables(word))
    return glob.glob(path) or [path]


def _expanded(words: Sequence[str], folder: str) -> list[str]:
    found = []
    for word in words:
        pattern = _variables(word)
        found += (glob.glob(os.path.join(folder, pattern)) if glob.has_magic(pattern) else []) or [pattern]
    return found


def _command(words: Sequence[str], folder: str) -> Iterator[tuple[str, str]]:
    words = list(words)
    while words and (os.path.basename(words[0]) in WRAPPERS or ASSIGNMENT.match(words[0])):
        words = words[1:]
    if not words:
        return
    program, rest = os.path.basename(words[0]), words[1:]
    if program in SHELLS:
        place = next((at for at, word in enumerate(rest) if re.fullmatch(r"-[a-z]*c", word)), None)
        if place is not None and place + 1 < len(rest):
            yield from _script(rest[place + 1], folder)
    elif program == "dd":
        yield from ((program, os.path.join(folder, word[3:])) for word in rest if word.startswith("of="))
    elif program in EVERY_OPERAND or program in LAST_OPERAND:
        yield from ((program, os.path.join(folder, path)) for path in _written(program, rest, folder))


def _written(program: str, words: Sequence[str], folder: str) -> list[str]:
    """What a tool writes or removes: each operand, or only what it copies to."""
    operands, target = _operands(program, words)
    if program in EVERY_OPERAND:
        return operands
    if target is None and (len(operands) > 1 or program in ("ln", "mv")):
        target = operands.pop() if len(operands) > 1 else "."
    if target is None or (program == "rsync" and REMOTE.match(target)):
        return []
    inside = os.path.isdir(os.path.join(folder, target))
    names = [os.path.basename(path.rstrip(os.sep)) for path in operands]
    written = [os.path.join(target, name) for name in names] if inside else [target]
    return [*operands, *written] if program == "mv" else written


def _operands(program: str, words: Sequence[str]) -> tuple[list[str], str | None]:
    """The operands, and the folder that an option names as the target."""
    operands: list[str] = []
    target: str | None = None
    valued, literal = "", False
    for word in words:
        if valued:
            target, valued = (word if valued in TARGET else target), ""
        elif literal or not word.startswith("-") or word == "-":
            operands.append(word)
        elif word == "--":
            literal = True
        elif word.startswith("--target-directory="):
            target = word.partition("=")[2]
        elif word in VALUED.get(program, ()):
            valued = word
    return operands, target
