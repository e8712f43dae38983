"""Writes a configuration as YAML with a comment on every key; what it writes can be read again."""

import io
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from ruamel.yaml import YAML

from flyball.agent.daemon.config_file import Effective

_WIDTH = 100


def written(effective: Effective) -> str:
    """The effective configuration, as ``flyball agent --print-config`` prints it."""
    config = effective.config
    lines = list(_fields(config, leave_out=("collectors", "receivers")))
    lines += _named(config, "collectors", effective.settings)
    lines += _named(config, "receivers", effective.receivers)
    return "\n".join(lines) + "\n"


def _named(config: BaseModel, key: str, models: Mapping[str, BaseModel]) -> Iterator[str]:
    yield from _comment(type(config).model_fields[key].description, "")
    yield f"{key}:" if models else f"{key}: {{}}"
    for name, settings in models.items():
        yield f"  {name}:"
        yield from _fields(settings, indent="    ")


def _fields(model: BaseModel, *, indent: str = "", leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    values = model.model_dump(mode="json")
    for name, field in type(model).model_fields.items():
        if name not in leave_out:
            yield from _comment(field.description, indent)
            yield from (indent + line for line in _entry({name: values[name]}))


def _comment(text: str | None, indent: str) -> list[str]:
    return textwrap.wrap(
        text or "", width=_WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# "
    )


def _entry(entry: Mapping[str, Any]) -> list[str]:
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.width = 4096
    writer.representer.add_representer(type(None), _null)
    stream = io.StringIO()
    writer.dump(dict(entry), stream)
    return stream.getvalue().rstrip("\n").split("\n")


def _null(representer: Any, value: None) -> Any:
    del value
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
