"""Reads a space file: which knobs, which values, with the line of every fault.

A knob's values are ``default`` (the knob's own), a list, one value, or a range
``{low: 1e6, high: 5e8, steps: 4, log: true}``. A knob that flyball does not know is declared by a mapping
with ``config``, ``argument`` or ``environment`` and ``values``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from flyball.errors import ConfigError, SpaceError
from flyball.tuners.base import Value
from flyball.tuners.config.reading import check_path, nearest
from flyball.tuners.knobs.declared import declared
from flyball.tuners.knobs.knob import Applied, Knob, written
from flyball.tuners.knobs.registry import BY_NAME, KNOBS
from flyball.tuners.space.space_range import RangeError, expand

MAX_BYTES = 2**20
LARGEST = 2**63
"""No count, size or rate of a config reaches it."""
WAYS = {"config": Applied.CONFIG, "argument": Applied.ARGUMENT, "environment": Applied.ENVIRONMENT}
TOP_LEVEL = frozenset({"knobs", "extends"})
RANGE_KEYS = frozenset({"low", "high", "steps", "log"})
EXAMPLES = {
    "config": "write a key path, as in zero_optimization.sub_group_size",
    "argument": "write an option with its dashes, as in --sequence-length",
    "environment": "write a variable's name, as in NCCL_ALGO",
}
DECLARATION_KEYS = frozenset({*WAYS, "values", "current", "flag", "off", "numerics", "reason"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Wish:
    """One knob as a space file asks for it."""

    knob: Knob
    values: tuple[Value, ...] | None
    """None stands for the knob's own values."""
    source: str
    """``file:line``."""


def bundled() -> dict[str, str]:
    """Return the space files that come with flyball, by name."""
    folder = files("flyball.tuners").joinpath("spaces")
    return {entry.name.removesuffix(".yaml"): entry.read_text("utf-8") for entry in folder.iterdir()}


def read_wishes(path: Path | None) -> tuple[Wish, ...]:
    """Return the knobs that the file at ``path`` asks for; None is the default space.

    A bare name without a suffix that is no file is looked for among the bundled spaces.

    Raises:
        SpaceError: with file, line and mend.
    """
    if path is None:
        return _parse(bundled()["default"], "default.yaml")
    name = str(path)
    if name in bundled() and not path.exists():
        return _parse(bundled()[name], f"{name}.yaml")
    return _parse(_read(path), name)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except FileNotFoundError as error:
        names = ", ".join(sorted(bundled()))
        raise SpaceError(
            "no such space file", where=str(path), mend=f"give a file, or one of {names}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceError(f"cannot be read ({error})", where=str(path)) from error
    if len(data) > MAX_BYTES:
        raise SpaceError("is larger than 1 MiB", where=str(path), mend="give a space file")
    return text


def _parse(text: str, name: str) -> tuple[Wish, ...]:
    document = _load(text, name)
    if not isinstance(document, Mapping):
        raise SpaceError("is not a mapping", where=name, mend="write 'knobs:' and a knob on each line below")
    for key in document:
        if key not in TOP_LEVEL:
            raise SpaceError(
                f"unknown key {key!r}", where=_line(name, document, key), mend="write knobs or extends"
            )
    wishes = {wish.knob.name: wish for wish in _inherited(document, name)}
    for wish in _own(document, name):
        wishes[wish.knob.name] = wish
    if not wishes:
        raise SpaceError(
            "names no knob", where=name, mend="write for example 'knobs: {micro_batch: default}'"
        )
    position = {knob.name: index for index, knob in enumerate(KNOBS)}
    return tuple(sorted(wishes.values(), key=lambda wish: position.get(wish.knob.name, len(position))))


def _load(text: str, name: str) -> Any:
    reader = YAML(typ="rt")
    reader.allow_duplicate_keys = False
    try:
        return reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = (error.problem or "is not YAML").split("\n")[0]
        raise SpaceError(problem, where=where, mend="each knob stands once, as 'name: values'") from error
    except (YAMLError, ValueError, RecursionError) as error:
        raise SpaceError(
            "is not YAML", where=name, mend="write 'knobs:' and a knob on each line below"
        ) from error


def _inherited(document: Mapping[str, Any], name: str) -> tuple[Wish, ...]:
    base = document.get("extends")
    if base is None:
        return ()
    if not isinstance(base, str) or base not in bundled():
        where = _line(name, document, "extends")
        raise SpaceError(
            f"no bundled space {base!r}", where=where, mend=f"write one of {', '.join(sorted(bundled()))}"
        )
    return _parse(bundled()[base], f"{base}.yaml")


def _own(document: Mapping[str, Any], name: str) -> list[Wish]:
    knobs = document.get("knobs")
    if knobs is None:
        return []
    if not isinstance(knobs, Mapping):
        where = _line(name, document, "knobs")
        raise SpaceError(
            "'knobs' is not a mapping", where=where, mend="write a knob on each line below, as 'name: values'"
        )
    return [_wish(str(key), value, _line(name, knobs, key)) for key, value in knobs.items()]


def _wish(name: str, value: Any, where: str) -> Wish:
    if isinstance(value, Mapping) and (set(value) & set(WAYS) or name not in BY_NAME):
        return _declaration(name, value, where)
    if name not in BY_NAME:
        close = nearest(name, BY_NAME)
        hint = (
            f"did you mean {close!r}?"
            if close
            else "declare it with config, argument or environment, and values"
        )
        raise SpaceError(f"unknown knob {name!r}", where=where, mend=hint)
    knob = BY_NAME[name]
    values = None if value == "default" else _values(value, where, name)
    for candidate in values or ():
        complaint = knob.accepts(candidate)
        if complaint:
            raise SpaceError(
                f"{name}: {written(candidate)} {complaint}", where=where, mend=f"see {name} in docs/knobs.md"
            )
    return Wish(knob=knob, values=values, source=where)


def _values(value: Any, where: str, name: str) -> tuple[Value, ...]:
    if isinstance(value, Mapping):
        for key in value:
            if key not in RANGE_KEYS:
                raise SpaceError(
                    f"{name}: unknown key {key!r} of a range", where=where, mend="write low, high, steps, log"
                )
        try:
            return expand(value)
        except RangeError as error:
            raise SpaceError(f"{name}: {error}", where=where, mend=error.mend) from error
    items: Sequence[Any] = value if isinstance(value, list) else [value]
    plain = tuple(_plain(item, where, name) for item in items)
    if not plain:
        raise SpaceError(f"{name}: an empty list", where=where, mend="write values, or remove the knob")
    if len({(type(item), item) for item in plain}) < len(plain):
        raise SpaceError(f"{name}: a value stands twice", where=where, mend="write each value once")
    return plain


def _plain(item: Any, where: str, name: str) -> Value:
    if isinstance(item, int | float) and not abs(item) < LARGEST:
        what = f"{name}: {str(item)[:20]}... is too large"
        raise SpaceError(what, where=where, mend="write a value below 2**63")
    if isinstance(item, bool):
        return item
    if isinstance(item, int):
        return int(item)
    if isinstance(item, float):
        number = float(item)
        # 5e8 is how people write a bucket size.
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if isinstance(item, str):
        return str(item)
    raise SpaceError(
        f"{name}: {item!r} is not a value", where=where, mend="write true, false, a number or a word"
    )


def _declaration(name: str, value: Mapping[str, Any], where: str) -> Wish:
    ways = [key for key in WAYS if key in value]
    if name in BY_NAME:
        raise SpaceError(
            f"{name!r} is a knob of flyball's own", where=where, mend="declare it under another name"
        )
    if len(ways) != 1:
        close = nearest(name, BY_NAME)
        only = "write exactly one of config, argument, environment"
        mend = f"did you mean {close!r}?" if close and not ways else only
        raise SpaceError(f"unknown knob {name!r}", where=where, mend=mend)
    for key in value:
        if key not in DECLARATION_KEYS:
            close = nearest(str(key), DECLARATION_KEYS)
            mend = (
                f"did you mean {close!r}?" if close else f"write only {', '.join(sorted(DECLARATION_KEYS))}"
            )
            raise SpaceError(f"{name}: unknown key {key!r}", where=where, mend=mend)
    return _declared(name, ways[0], value, where)


def _declared(name: str, way: str, value: Mapping[str, Any], where: str) -> Wish:
    path = value[way]
    if not isinstance(path, str) or not path or (way == "argument" and not path.startswith("-")):
        raise SpaceError(f"{name}: {way} {path!r} cannot be set", where=where, mend=EXAMPLES[way])
    if way == "config":
        _check_declared_key(name, path, where)
    if "values" not in value:
        raise SpaceError(f"{name}: has no values", where=where, mend="write for example values: [1, 2, 4]")
    values = _values(value["values"], where, name)
    flag, off = value.get("flag", False), value.get("off")
    current = value.get("current", False if flag else None)
    if flag and not all(isinstance(item, bool) for item in values):
        raise SpaceError(f"{name}: a flag is true or false", where=where, mend="write values: [false, true]")
    if flag and current is True and not off:
        mend = "name the option that takes it back, as in off: --no-checkpointing"
        raise SpaceError(f"{name}: the command sets this flag and nothing unsets it", where=where, mend=mend)
    knob = declared(
        name=name,
        applied=WAYS[way],
        path=str(path),
        values=values,
        current=None if current is None else _plain(current, where, name),
        flag=bool(flag),
        off=off,
        changes_numerics=bool(value.get("numerics", False)),
        reason=str(value.get("reason", "")),
    )
    return Wish(knob=knob, values=values, source=where)


def _check_declared_key(name: str, path: str, where: str) -> None:
    """Refuse a key that DeepSpeed does not read, or that a knob of flyball's own moves by rules."""
    try:
        check_path(path, where=where)
    except ConfigError as error:
        raise SpaceError(f"{name}: {error.what}", where=where, mend=error.mend) from error
    own = next((knob.name for knob in KNOBS if knob.applied is Applied.CONFIG and knob.path == path), None)
    if own is not None:
        mend = f"write {own}: and its values"
        raise SpaceError(f"{name}: {path} is what the knob {own} moves", where=where, mend=mend)


def _line(name: str, mapping: Mapping[str, Any], key: Any) -> str:
    marks = getattr(mapping, "lc", None)
    try:
        return f"{name}:{marks.key(key)[0] + 1}" if marks is not None else name
    except KeyError:  # a key that came by a merge has no line of its own
        return name
