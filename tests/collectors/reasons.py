"""Finds every reason that the sources can give, without running them."""

import ast
from collections.abc import Iterator
from pathlib import Path

POSITIONS = {"Unavailable": None, "CollectorFailed": 0, "JournalRefused": 0, "_fault": -2}
"""What takes a reason, and where it stands unless it is named."""


class Unresolved(Exception):
    """A reason that cannot be read from the source."""


def reasons_in(folder: Path) -> set[str]:
    """All reasons in a folder's modules. Raises Unresolved."""
    trees = {path.name: ast.parse(path.read_text("utf-8")) for path in sorted(folder.glob("*.py"))}
    constants = {name: value for tree in trees.values() for name, value in _constants(tree)}
    found: set[str] = set()
    for name, tree in trees.items():
        assigned = _assigned(tree)
        for node in _reasons(tree):
            try:
                found |= _values(node, assigned, constants)
            except Unresolved as error:
                raise Unresolved(f"{name}:{node.lineno}: {error}") from error
    return found


def _reasons(tree: ast.Module) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in POSITIONS:
            place = POSITIONS[node.func.id]
            named = [each.value for each in node.keywords if each.arg == "reason"]
            yield from named or ([] if place is None else [node.args[place]])
        elif isinstance(node, ast.FunctionDef) and node.name in ("reason", "reason_of"):
            yield from (
                each.value
                for each in ast.walk(node)
                if isinstance(each, ast.Return) and each.value is not None
            )


def _constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value


def _assigned(tree: ast.Module) -> dict[str, list[ast.expr]]:
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found.setdefault(node.targets[0].id, []).append(node.value)
    return found


def _values(node: ast.expr, assigned: dict[str, list[ast.expr]], constants: dict[str, ast.expr]) -> set[str]:
    parts = _parts(node)
    match node:
        case ast.Constant(value=str(text)):
            return {text} if text else set()
        case ast.Call(func=ast.Name(id="reason_of")) | ast.Attribute(attr="reason"):
            return set()  # found where it was made
        case ast.Name(id=name) if name in assigned or name in constants:
            parts = assigned.get(name) or [constants[name]]
        case ast.Name(id="reason"):
            return set()  # an argument, found where it was given
    if parts is None:
        raise Unresolved(ast.unparse(node))
    return {value for each in parts for value in _values(each, assigned, constants)}


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """The expressions that an expression's value is one of."""
    match node:
        case ast.IfExp():
            return [node.body, node.orelse]
        case ast.Dict():
            return node.values
        case ast.GeneratorExp():
            return [each.iter for each in node.generators]
        case ast.Call(func=ast.Attribute(value=owner, attr="get" | "items")):
            return [owner, *node.args[1:]]
        case ast.Call(func=ast.Name(id="next")):
            return node.args
    return None
