"""Reads what a DeepSpeed package accepts in a config from its files, by their syntax: nothing is imported.

``python -m flyball.tuners.config.deepspeed_source FOLDER > tuners/config/deepspeed_tables/X.Y.Z.json`` makes
the table of a version from its unpacked source. Names, kinds, bounds and defaults are taken; no text.
"""

import ast
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flyball.tuners.config.syntax_values import Names, value_of

MODELS: Mapping[str, tuple[str, str]] = {
    "zero_optimization": ("runtime/zero/config.py", "DeepSpeedZeroConfig"),
    "zero_optimization.offload_param": ("runtime/zero/offload_config.py", "DeepSpeedZeroOffloadParamConfig"),
    "zero_optimization.offload_optimizer": (
        "runtime/zero/offload_config.py",
        "DeepSpeedZeroOffloadOptimizerConfig",
    ),
    "zero_optimization.zenflow": ("runtime/zenflow/zenflow_config.py", "ZenFlowConfig"),
    "zero_optimization.leaf_module": ("runtime/zero/leaf_module_config.py", "DeepSpeedZeroLeafModuleConfig"),
    "fp16": ("runtime/precision_config.py", "DeepSpeedFP16Config"),
    "bf16": ("runtime/precision_config.py", "DeepSpeedBF16Config"),
    "comms_logger": ("comm/config.py", "CommsLoggerConfig"),
    "tensorboard": ("monitor/config.py", "TensorBoardConfig"),
    "wandb": ("monitor/config.py", "WandbConfig"),
    "csv_monitor": ("monitor/config.py", "CSVConfig"),
    "comet": ("monitor/config.py", "CometConfig"),
    "timers.throughput": ("utils/config.py", "DeepSpeedThroughputTimerConfig"),
    "compile": ("compile/config.py", "CompileConfig"),
    "hybrid_engine": ("runtime/config.py", "HybridEngineConfig"),
    "tensor_parallel": ("runtime/tensor_parallel/config.py", "TPTrainingConfig"),
}
"""Section to the file and the class that checks it. https://github.com/deepspeedai/DeepSpeed"""

_KINDS = {
    "int": "int",
    "float": "float",
    "bool": "bool",
    "str": "str",
    "Path": "path",
    "list": "list",
    "List": "list",
    "dict": "dict",
    "Dict": "dict",
    "tuple": "list",
    "None": "null",
}
_BOUNDS = ("gt", "ge", "lt", "le")


def read_facts(folder: Path) -> dict[str, Any]:
    """Return the facts of the DeepSpeed package at ``folder``, in the shape of a table.

    What a file does not have, or what no longer looks as expected, is left out.
    """
    return {
        "sections": {
            section: fields
            for section, (file, name) in MODELS.items()
            if (fields := _model(folder / file, name, folder))
        },
        "optimizers": sorted(_optimizers(folder)),
        "schedulers": _schedulers(folder / "runtime" / "lr_schedules.py"),
        "removed": sorted(_removed(folder / "runtime" / "config.py")),
    }


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ast.Module(body=[], type_ignores=[])


def _names(path: Path) -> Names:
    """The constants of a file, over those of the constants.py beside it."""
    found: dict[str, Any] = {}
    for each in (path.with_name("constants.py"), path):
        for node in _tree(each).body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                known, value = value_of(node.value, found)
                if known:
                    found[node.targets[0].id] = value
    return found


def _classes(path: Path) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in _tree(path).body if isinstance(node, ast.ClassDef)}


def _model(path: Path, name: str, folder: Path) -> dict[str, dict[str, Any]]:
    body = _classes(path).get(name)
    if body is None:
        return {}
    names = _names(path)
    return {
        node.target.id: _field(node, names, path)
        for node in body.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _field(node: ast.AnnAssign, names: Names, path: Path) -> dict[str, Any]:
    kinds, choices = _kinds(node.annotation, path)
    found: dict[str, Any] = {}
    if "any" not in kinds:
        found["kinds"] = kinds
    if choices:
        found["choices"] = choices
    default: ast.expr | None = node.value
    if isinstance(node.value, ast.Call) and _called(node.value) == "Field":
        default = node.value.args[0] if node.value.args else None
        keywords = {word.arg: word.value for word in node.value.keywords if word.arg}
        default = keywords.get("default", default)
        found |= _keywords(keywords, names)
    if default is not None:
        known, value = value_of(default, names)
        if known:
            found["default"] = value
    return found


def _keywords(keywords: Mapping[str, ast.expr], names: Names) -> dict[str, Any]:
    found: dict[str, Any] = {}
    bounds = {}
    for bound in _BOUNDS:
        if bound in keywords:
            known, value = value_of(keywords[bound], names)
            if known:
                bounds[bound] = value
    if bounds:
        found["bounds"] = bounds
    if isinstance(alias := keywords.get("alias"), ast.Constant):
        found["alias"] = alias.value
    extra = keywords.get("json_schema_extra")
    if isinstance(extra, ast.Dict):
        marks = {
            key.value: value for key, value in zip(extra.keys, extra.values, strict=True)
            if isinstance(key, ast.Constant)
        }  # fmt: skip
        if isinstance(mark := marks.get("deprecated"), ast.Constant) and mark.value:
            found["deprecated"] = True
            if isinstance(new := marks.get("new_param"), ast.Constant):
                found["replacement"] = new.value
    return found


def _kinds(annotation: ast.expr, path: Path) -> tuple[list[str], list[Any]]:
    """What of JSON a type takes, and its choices where it is an enumeration."""
    if isinstance(annotation, ast.Constant):
        return (["null"] if annotation.value is None else ["any"]), []
    if isinstance(annotation, ast.Subscript):
        return _generic(annotation, path)
    if isinstance(annotation, ast.Attribute):
        return ["never"], []  # torch.dtype: an object that a file cannot hold
    if not isinstance(annotation, ast.Name):
        return ["any"], []
    if annotation.id in _KINDS:
        return [_KINDS[annotation.id]], []
    for each in _tree(path).body:
        if isinstance(each, ast.Assign) and getattr(each.targets[0], "id", None) == annotation.id:
            return _kinds(each.value, path)
    choices = _enumeration(annotation.id, path)
    if choices:
        return [], choices
    return (["section"] if annotation.id.endswith("Config") else ["any"]), []


def _generic(annotation: ast.Subscript, path: Path) -> tuple[list[str], list[Any]]:
    outer = annotation.value.id if isinstance(annotation.value, ast.Name) else ""
    inner = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
    if outer == "Literal":
        return [], [each.value for each in inner if isinstance(each, ast.Constant)]
    if outer in ("Optional", "Union"):
        kinds: list[str] = ["null"] if outer == "Optional" else []
        choices: list[Any] = []
        for each in inner:
            more, values = _kinds(each, path)
            kinds, choices = kinds + more, choices + values
        return kinds, choices
    if outer in ("List", "list"):
        return ["list"], _kinds(inner[0], path)[1]
    return [_KINDS.get(outer, "any")], []


def _enumeration(name: str, path: Path) -> list[Any]:
    for file in (path, *path.parent.glob("*config*.py")):
        found = _classes(file).get(name)
        if found is not None and any("Enum" in ast.unparse(base) for base in found.bases):
            values = [
                line.value.value
                for line in found.body
                if isinstance(line, ast.Assign) and isinstance(line.value, ast.Constant)
            ]
            return list(dict.fromkeys(values))
    return []


def _optimizers(folder: Path) -> list[str]:
    found = _names(folder / "runtime" / "config.py").get("DEEPSPEED_OPTIMIZERS", [])
    return [str(each).lower() for each in found]


def _schedulers(path: Path) -> dict[str, dict[str, list[str]]]:
    found = {}
    for name in _names(path).get("VALID_LR_SCHEDULES", []):
        body = _classes(path).get(str(name))
        making = next((line for line in body.body if _is_init(line)), None) if body else None
        if isinstance(making, ast.FunctionDef):
            names = [each.arg for each in making.args.args[2:]]
            optional = len(making.args.defaults)
            found[str(name)] = {"parameters": names, "required": names[: len(names) - optional]}
    return found


def _is_init(line: ast.stmt) -> bool:
    return isinstance(line, ast.FunctionDef) and line.name == "__init__"


def _removed(path: Path) -> Iterator[str]:
    for variable, prefix in (
        ("_REMOVED_TOP_LEVEL_CONFIG_KEYS", ""),
        ("_REMOVED_ZERO_CONFIG_KEYS", "zero_optimization."),
    ):
        for node in _tree(path).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == variable:
                keys = node.value.keys if isinstance(node.value, ast.Dict) else []
                yield from (prefix + str(key.value) for key in keys if isinstance(key, ast.Constant))


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(read_facts(Path(sys.argv[1])), indent=1, sort_keys=True) + "\n")
