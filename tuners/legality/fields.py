"""The values of checked sections, by the kinds, choices and bounds that DeepSpeed's models give them.

Values are converted as pydantic does it in lax mode (https://docs.pydantic.dev/latest/concepts/conversion_table/):
what converts is legal, and a warning where it hardly was meant.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flyball.tuners.config.deepspeed_facts import Field
from flyball.tuners.config.reading import read
from flyball.tuners.config.shape import number_of
from flyball.tuners.legality.context import Context
from flyball.tuners.legality.finding import Finding, Rule, found, shown
from flyball.tuners.legality.sections import checked_sections

_SWITCH_TEXTS = frozenset({"0", "1", "on", "off", "t", "f", "true", "false", "y", "n", "yes", "no"})
_KIND_TEXTS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "a text",
    "path": "a path",
    "list": "a list",
    "dict": "an object",
    "section": "a section",
    "null": "null",
    "never": "nothing that JSON can say",
}
_BOUND_TEXTS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "gt": ("above", lambda value, bound: value > bound),
    "ge": ("at least", lambda value, bound: value >= bound),
    "lt": ("below", lambda value, bound: value < bound),
    "le": ("at most", lambda value, bound: value <= bound),
}


def values(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """Every value of a checked section is of its kind, among its choices and within its bounds."""
    for key, value, field in _settings(config, context):
        yield from _judge(key, value, field)


def doubled(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A setting under both its names, or an old key beside the new one: DeepSpeed refuses the two."""
    for key, _, field in _settings(config, context):
        section, _, name = key.rpartition(".")
        content = read(config, section)
        if name == field.name and field.alias in content:
            what = f"stands as {field.alias!r} too"
            yield found("key-twice", key, what, f"keep {field.alias!r} only")
        elif field.deprecated:
            yield from _deprecated(section, key, field, content)


def _deprecated(section: str, key: str, field: Field, content: Mapping[str, Any]) -> Iterator[Finding]:
    new = field.replacement or ""
    if new and content.get(new) not in (None, "auto"):
        yield found("key-twice", key, f"stands beside {new!r}, which replaces it", "remove the old key")
    else:
        yield found("key-deprecated", key, "is an old key", f"use {section}.{new}" if new else "remove it")


def _settings(config: Mapping[str, Any], context: Context) -> Iterator[tuple[str, Any, Field]]:
    for section in checked_sections(config, context):
        for name, value in section.content.items():
            if name in section.fields and value != "auto":
                yield f"{section.name}.{name}", value, section.fields[name]


def _judge(key: str, value: Any, field: Field) -> Iterator[Finding]:
    if isinstance(value, list) and field.choices and "list" in field.kinds:
        for item in value:
            if item not in field.choices:
                yield found(
                    "value-choice", key, f"{shown(item)} is none of its choices", _one_of(field.choices)
                )
    elif value is None or field.kinds or not field.choices:
        yield from _judge_kind(key, value, field)
    else:
        yield from _judge_choice(key, value, field)


def _judge_choice(key: str, value: Any, field: Field) -> Iterator[Finding]:
    if value in field.choices and not isinstance(value, bool):
        return
    # A text of a choice's digits, and true for 1, are converted.
    if isinstance(value, bool | str) and str(value if isinstance(value, str) else int(value)) in map(
        str, field.choices
    ):
        if not isinstance(value, str) or not any(isinstance(choice, str) for choice in field.choices):
            yield found(
                "value-as-text", key, f"{shown(value)} stands for a number", "write the number itself"
            )
        return
    what = (
        f"{shown(value)} is not a ZeRO stage"
        if key.endswith(".stage")
        else f"{shown(value)} is none of its choices"
    )
    yield found("value-choice", key, what, _one_of(field.choices))


def _judge_kind(key: str, value: Any, field: Field) -> Iterator[Finding]:
    kinds = field.kinds
    if not kinds and not (value is None and field.choices):
        return
    fits = [_fits(value, kind) for kind in kinds]
    if not any(fits):
        wanted = " or ".join(_KIND_TEXTS[kind] for kind in kinds if kind != "null") or _one_of(field.choices)
        yield found("value-kind", key, f"{shown(value)} is not {wanted}", f"write {_example(field)}")
        return
    if all(fit is not EXACT for fit in fits):
        what = f"{shown(value)} is taken for {_KIND_TEXTS[kinds[fits.index(CONVERTED)]]}"
        yield found("value-as-text", key, what, f"write {_example(field)}")
    number = number_of(value)
    for bound, limit in field.bounds:
        text, holds = _BOUND_TEXTS[bound]
        if number is not None and not holds(number, limit):
            yield found(
                "value-range",
                key,
                f"{shown(value)} is not {text} {limit:g}",
                f"write a value {text} {limit:g}",
            )


EXACT, CONVERTED = "exact", "converted"


def _fits(value: Any, kind: str) -> str | None:
    """How a value fits a kind: as it is, by conversion, or not (None)."""
    if kind == "null" or value is None:
        return EXACT if value is None and kind == "null" else None
    if kind in ("int", "float"):
        return _fits_number(value, whole=kind == "int")
    if kind == "bool":
        return _fits_switch(value)
    types: Mapping[str, type | tuple[type, ...]] = {
        "str": str, "path": str, "list": list, "dict": dict, "section": dict,
    }  # fmt: skip
    return EXACT if kind in types and isinstance(value, types[kind]) else None


def _fits_number(value: Any, *, whole: bool) -> str | None:
    if isinstance(value, bool):
        return CONVERTED
    if isinstance(value, int | float):
        return EXACT if not whole or value == int(value) else None
    number = number_of(value)
    if number is None or (whole and not value.strip().lstrip("+-").removesuffix(".0").isdigit()):
        return None
    return CONVERTED


def _fits_switch(value: Any) -> str | None:
    if isinstance(value, bool):
        return EXACT
    if isinstance(value, int | float):
        return CONVERTED if value in (0, 1) else None
    return CONVERTED if isinstance(value, str) and value.lower() in _SWITCH_TEXTS else None


def _one_of(choices: tuple[Any, ...]) -> str:
    texts = [str(choice) for choice in choices]
    return f"write {', '.join(texts[:-1])} or {texts[-1]}"


def _example(field: Field) -> str:
    examples = {
        "int": "a whole number, as in 500 or 5e8",
        "float": "a number, as in 0.5",
        "bool": "true or false",
    }
    kind = next((kind for kind in field.kinds if kind != "null"), "")
    return examples.get(kind, _KIND_TEXTS.get(kind, "one of its choices"))


RULES: tuple[Rule, ...] = (values, doubled)
