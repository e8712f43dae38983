"""Templates of annotations: ``{{ labels.gpu }}``, ``{{ value }}``, ``{{ value | percent }}``.

There is nothing else in them: no code, no loops, no lookup. Each can be written in Prometheus' template
language as well, and both give the same text.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from flyball.errors import BadInput
from flyball.policies.humanized import FORMATS, plain

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_LABEL = re.compile(r"labels\.([A-Za-z_][A-Za-z0-9_]*)")
_VALUE = re.compile(r"value(?:\s*\|\s*(.*))?", re.DOTALL)
_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class _Label:
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Value:
    format: str
    """A key of ``FORMATS``, or empty for all digits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TemplateFault:
    """What is wrong with one placeholder, and what to write instead."""

    what: str
    mend: str


_Part = str | _Label | _Value | TemplateFault


def template_faults(text: str, labels: Collection[str]) -> tuple[TemplateFault, ...]:
    """All that is wrong with a template, for series that have these labels."""
    return tuple(_faults(_parts(text), labels))


def fill(text: str, *, labels: Mapping[str, str], value: float) -> str:
    """Return the template's text; a label that is not there is empty, as in Prometheus.

    Raises:
        BadInput: ``template_faults`` has something to say.
    """
    return "".join(_filled(part, labels, value) for part in _parts(text))


def prometheus_template(text: str) -> str:
    """Return the same template in Prometheus' template language.

    Raises:
        BadInput: ``template_faults`` has something to say.
    """
    return "".join(map(_as_prometheus, _parts(text)))


@lru_cache(maxsize=1024)
def _parts(text: str) -> tuple[_Part, ...]:
    parts: list[_Part] = []
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        parts.extend(_literal(text[end : found.start()]))
        parts.append(_placeholder(found.group(1).strip()))
        end = found.end()
    parts.extend(_literal(text[end:]))
    return tuple(parts)


def _literal(text: str) -> Iterator[_Part]:
    if "{{" in text:
        yield TemplateFault(what="'{{' is never closed", mend="write '}}' behind the placeholder")
    elif "}}" in text:
        yield TemplateFault(what="'}}' closes nothing", mend="write '{{' before the placeholder")
    elif text:
        yield text


def _placeholder(inner: str) -> _Part:
    if found := _LABEL.fullmatch(inner):
        return _Label(name=found.group(1))
    if (found := _VALUE.fullmatch(inner)) is None:
        mend = "write {{ labels.NAME }} or {{ value }}"
        if inner.startswith(("$labels.", ".labels.", "$value")):
            mend = f"write {{{{ {inner[1:]} }}}}"
        return TemplateFault(what=f"'{inner[:_SHOWN]}' is no placeholder", mend=mend)
    name = (found.group(1) or "").strip()
    if "|" in inner and name not in FORMATS:
        close = difflib.get_close_matches(name, list(FORMATS), n=1)
        mend = f"did you mean {close[0]}?" if close else f"the filters are {', '.join(FORMATS)}"
        return TemplateFault(what=f"'{name[:_SHOWN]}' is no filter", mend=mend)
    return _Value(format=name)


def _faults(parts: Iterable[_Part], labels: Collection[str]) -> Iterator[TemplateFault]:
    for part in parts:
        if isinstance(part, TemplateFault):
            yield part
        elif isinstance(part, _Label) and part.name not in labels:
            close = difflib.get_close_matches(part.name, list(labels), n=1)
            listing = f"the labels are {', '.join(labels)}" if labels else "they have none"
            mend = f"did you mean {close[0]}?" if close else listing
            yield TemplateFault(what=f"the series have no label {part.name}", mend=mend)


def _filled(part: _Part, labels: Mapping[str, str], value: float) -> str:
    if isinstance(part, _Label):
        return labels.get(part.name, "")
    if isinstance(part, _Value):
        return FORMATS[part.format][0](value) if part.format else plain(value)
    return _text(part)


def _as_prometheus(part: _Part) -> str:
    if isinstance(part, _Label):
        return f"{{{{ $labels.{part.name} }}}}"
    if isinstance(part, _Value):
        if not part.format:
            return "{{ $value }}"
        _, function, behind = FORMATS[part.format]
        return f"{{{{ $value | {function} }}}}{behind}"
    return _text(part)


def _text(part: str | TemplateFault) -> str:
    if isinstance(part, TemplateFault):
        raise BadInput(part.what, where="template", mend=part.mend)
    return part
