"""Typer's usage errors, each as one helpful line of our own error tree."""

import difflib
from typing import cast

import typer

from flyball.agent.arguments import EXAMPLE, Arguments
from flyball.errors import OptionError

UsageError = cast(type[Exception], typer.BadParameter.__mro__[1])
"""Typer's own or click's, whichever this version of typer raises."""


def usage_error(error: Exception, arguments: Arguments, *, program: str) -> OptionError:
    """Translate a usage error of typer into one of ours; ``arguments`` are what it was raised over."""
    path = _command_path(error, arguments, program)
    unknown = getattr(error, "option_name", None)
    if isinstance(error, typer.BadParameter):
        return _bad_value(error, path)
    if not isinstance(unknown, str):
        return _unknown_command(error, path, arguments)
    if hasattr(error, "possibilities"):
        return _unknown_option(error, unknown, path, arguments)
    return OptionError(_sentence(error, without=f"Option '{unknown}' "), where=unknown, mend=_see(path))


def _command_path(error: Exception, arguments: Arguments, program: str) -> str:
    context = getattr(error, "ctx", None)
    if context is not None:
        return str(context.command_path)
    first = arguments.own[:1] if program == "flyball" else ()
    return " ".join([program, *(word for word in first if not word.startswith("-"))])


def _see(path: str) -> str:
    return f"see {path} --help"


def _sentence(error: object, *, without: str = "") -> str:
    text = str(error).removeprefix(without).rstrip(".")
    return text[:1].lower() + text[1:]


def _bad_value(error: typer.BadParameter, path: str) -> OptionError:
    names = getattr(error.param, "opts", None) or [str(error.param_hint or "")]
    is_option = names[0].startswith("-")
    place = names[0] if is_option else getattr(error.param, "metavar", None) or names[0].upper() or None
    what = _sentence(error.message) or "is missing"
    return OptionError(what, where=place, mend=_see(path))


def _unknown_option(error: Exception, unknown: str, path: str, arguments: Arguments) -> OptionError:
    close = difflib.get_close_matches(unknown, _option_names(error), n=1, cutoff=0.7)
    if close:
        mend = f"did you mean {close[0]}?"
    elif path.endswith("autotune") and arguments.command is None:
        mend = f"options of your own command stand after --, as in: {EXAMPLE}"
    else:
        mend = _see(path)
    return OptionError("no such option", where=unknown, mend=mend)


def _option_names(error: Exception) -> list[str]:
    command = getattr(getattr(error, "ctx", None), "command", None)
    return [name for parameter in getattr(command, "params", ()) for name in parameter.opts]


def _unknown_command(error: Exception, path: str, arguments: Arguments) -> OptionError:
    command = getattr(getattr(error, "ctx", None), "command", None)
    known = sorted(getattr(command, "commands", {}))
    wanted = next((word for word in arguments.own if f"'{word}'" in str(error)), None)
    if not known:
        return OptionError(_sentence(error), mend=_see(path))
    listing = f"the commands are {', '.join(known)}"
    if wanted is None:
        return OptionError(_sentence(error), mend=listing)
    close = difflib.get_close_matches(wanted, known, n=1)
    mend = f"did you mean {close[0]}?" if close else listing
    return OptionError("no such command", where=wanted, mend=mend)
