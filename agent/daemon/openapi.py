"""Describes the paths by OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.0), from the schemas of pydantic."""

import ast
import contextlib
import inspect
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal

from pydantic import TypeAdapter

from flyball.agent.daemon import api_models
from flyball.agent.daemon.api_models import Refusal
from flyball.agent.daemon.paths import Parameter, Paths, Served

Document = dict[str, Any]
_Key = tuple[str, str, str]
_Mode = Literal["validation", "serialization"]

_REFUSED: _Key = ("", "", "refused")


def openapi(paths: Paths, *, title: str, version: str) -> Document:
    """Return the document. Takes some 20 ms: what asks for it keeps it."""
    schemas, components = _schemas(paths)
    described: dict[str, Document] = {}
    for one in paths.served:
        described.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": described,
        "components": {"schemas": components},
    }


def _schemas(paths: Paths) -> tuple[Mapping[_Key, Document], Document]:
    asked: list[tuple[_Key, _Mode, TypeAdapter[Any]]] = [(_REFUSED, "serialization", TypeAdapter(Refusal))]
    for one in paths.served:
        if not one.is_text:
            asked.append((_key(one), "serialization", TypeAdapter(one.kind)))
        asked += [(_key(one, each), "validation", TypeAdapter(each.kind)) for each in one.parameters]
    found, definitions = TypeAdapter.json_schemas(asked, ref_template="#/components/schemas/{model}")
    components = definitions.get("$defs", {})
    for name, text in _descriptions().items():
        if name in components:
            components[name].setdefault("description", text)
    return {key: schema for (key, _), schema in found.items()}, components


def _descriptions() -> Mapping[str, str]:
    """What each answer is, from the source: the agent's process has no docstrings (-OO)."""
    with contextlib.suppress(OSError):  # installed without its source
        classes = [
            node for node in ast.parse(inspect.getsource(api_models)).body if isinstance(node, ast.ClassDef)
        ]
        return {each.name: text for each in classes if (text := ast.get_docstring(each)) is not None}
    return {}


def _key(one: Served, parameter: Parameter | None = None) -> _Key:
    return one.method, one.path, parameter.name if parameter is not None else ""


def _operation(one: Served, schemas: Mapping[_Key, Document]) -> Document:
    answer = {"text/plain": {"schema": {"type": "string"}}} if one.is_text else _json(schemas[_key(one)])
    refused = {str(status): _response(why, _json(schemas[_REFUSED])) for status, why in one.refusals.items()}
    others = {str(status): _response(why, answer) for status, why in one.others.items()}
    described: Document = {
        "summary": one.summary,
        "operationId": _operation_id(one),
        "responses": {"200": _response(HTTPStatus.OK.phrase, answer), **others, **refused},
    }
    if one.parameters:
        described["parameters"] = list(_parameters(one, schemas))
    return described


def _parameters(one: Served, schemas: Mapping[_Key, Document]) -> Iterable[Document]:
    for each in one.parameters:
        is_required = each.where == "path"
        yield {
            "name": each.name,
            "in": each.where,
            "required": is_required,
            "schema": schemas[_key(one, each)],
        }


def _operation_id(one: Served) -> str:
    words = one.path.translate(str.maketrans("/-{}", "    ")).split()
    return "_".join([one.method.lower(), *words])


def _response(description: str, content: Document) -> Document:
    return {"description": description, "content": content}


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}
