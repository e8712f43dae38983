"""What a script's source says for certain, before it has run."""

import ast
from collections.abc import Iterable, Iterator
from typing import TypeGuard

MICRO_BATCH = "train_micro_batch_size_per_gpu"
"""The config's key, and the engine's method."""
OWN_LOADER = "training_data"
"""The argument of ``deepspeed.initialize`` by which the engine loads the data itself."""
_BRANCHES = (
    ast.If,
    ast.IfExp,
    ast.Try,
    ast.Match,
    ast.While,
    ast.For,
    ast.BoolOp,
    ast.comprehension,
    ast.Lambda,
)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def names_batch(script: str) -> bool:
    """Whether a script names DeepSpeed's micro batch, or lets DeepSpeed load its data: its batch follows.

    A script that Python cannot parse names nothing.
    """
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError):
        return False
    return any(
        (isinstance(node, ast.Attribute) and node.attr == MICRO_BATCH)
        or (isinstance(node, ast.Constant) and node.value == MICRO_BATCH)
        or (isinstance(node, ast.keyword) and node.arg in (MICRO_BATCH, OWN_LOADER))
        for node in ast.walk(tree)
    )


def always_calls(script: str, name: str) -> bool:
    """Whether a script calls ``name`` whatever its options: at its top, or in functions that it always calls.

    What stands in a branch, in a loop, or behind a branch that may return is not certain; nor is what another
    module does, or a script that Python cannot parse.
    """
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError):
        return False
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, _FUNCTIONS)}
    reached: set[str] = set()
    waiting: list[Iterable[ast.stmt]] = [tree.body]
    while waiting:
        for called in set(_certain_calls(waiting.pop())) - reached:
            reached.add(called)
            if called in functions:
                waiting.append(functions[called].body)
    return name in reached


def _certain_calls(body: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.With) or _is_main_guard(statement):
            yield from _certain_calls(statement.body)
        elif isinstance(statement, _BRANCHES):
            if any(isinstance(node, ast.Return | ast.Raise) for node in ast.walk(statement)):
                return
        elif not isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
            yield from _calls(statement)


def _calls(node: ast.AST) -> Iterator[str]:
    if isinstance(node, _BRANCHES):
        return
    if isinstance(node, ast.Call):
        yield getattr(node.func, "attr", "") or getattr(node.func, "id", "")
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)


def _is_main_guard(statement: ast.stmt) -> TypeGuard[ast.If]:
    if not isinstance(statement, ast.If):
        return False
    return "__name__" in {node.id for node in ast.walk(statement.test) if isinstance(node, ast.Name)}
