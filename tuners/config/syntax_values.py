"""The value of a simple expression in a syntax tree: numbers, texts, lists of them, known names."""

import ast
import operator
from collections.abc import Mapping
from typing import Any

Names = Mapping[str, Any]
_OPERATIONS = {ast.Mult: operator.mul, ast.Add: operator.add, ast.Sub: operator.sub}
_UNKNOWN = (False, None)


def value_of(node: ast.expr, names: Names) -> tuple[bool, Any]:
    """Return whether the value is known, and the value; nothing is executed."""
    if isinstance(node, ast.Constant):
        return True, node.value
    if isinstance(node, ast.Name):
        return node.id in names, names.get(node.id)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        known, value = value_of(node.operand, names)
        return (True, -value) if known and isinstance(value, int | float) else _UNKNOWN
    if isinstance(node, ast.BinOp):
        return _operation(node, names)
    if isinstance(node, ast.List | ast.Tuple):
        found = [value_of(each, names) for each in node.elts]
        return (True, [value for _, value in found]) if all(known for known, _ in found) else _UNKNOWN
    if isinstance(node, ast.Dict) and not node.keys:
        return True, {}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "pp_int":
        return value_of(node.args[0], names)  # a whole number with a text of its own
    return _UNKNOWN


def _operation(node: ast.BinOp, names: Names) -> tuple[bool, Any]:
    (left_known, left), (right_known, right) = value_of(node.left, names), value_of(node.right, names)
    operation = _OPERATIONS.get(type(node.op))
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if operation is None or not (left_known and right_known and numbers):
        return _UNKNOWN
    return True, operation(left, right)
