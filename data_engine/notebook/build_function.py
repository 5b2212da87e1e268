"""What is wrong with `build` as it is written, before anything runs: it returns nothing, or the name is no function any more."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from data_engine.notebook.flow_calls import calls_its_steps

CALLS_ITS_STEPS = (
    "build() calls `.steps(...)`, and the `steps` of a flow are those it has",
    "add one with `.step(...)`",
)


def trouble_of_build(statement: ast.stmt) -> tuple[str, str] | None:
    """What a statement that binds `build` does wrong and how it is put right; None where it looks right, or cannot be told.

    Example:
        >>> trouble_of_build(ast.parse("build = build()").body[0])
        ('`build` becomes what build() returned, and is not a function any more', 'give it another name: `flow = build()`')
        >>> trouble_of_build(ast.parse("def build(): return Flow(group='A')").body[0]) is None
        True
    """
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name == "build":
        if isinstance(statement, ast.AsyncFunctionDef):
            return "build() is `async`, so it returns no Flow", "write it as `def build():`"
        if calls_its_steps(statement):
            return CALLS_ITS_STEPS
        if statement.decorator_list or isinstance(statement.body[-1], ast.Raise) or any(_results(statement.body)):
            return None
        return "build() returns nothing: its `return` is missing", "end it with `return Flow(group=...).step(...)`"
    if isinstance(statement, ast.ClassDef) and statement.name == "build":
        return None
    value = _value_of(statement)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "build":
        return (
            "`build` becomes what build() returned, and is not a function any more",
            "give it another name: `flow = build()`",
        )
    if isinstance(value, (ast.Constant, ast.List, ast.Dict, ast.Set, ast.Tuple, ast.JoinedStr)):
        return "`build` becomes a value, and is not a function any more", "give the value another name"
    return None


def _value_of(statement: ast.stmt) -> ast.expr | None:
    """What the statement assigns to `build` alone."""
    if isinstance(statement, ast.Assign):
        names = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        names = [statement.target]
    else:
        return None
    is_build = any(isinstance(name, ast.Name) and name.id == "build" for name in names)
    return statement.value if is_build else None


def _results(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """What gives a function a result: `return` with a value, `yield`; not those of functions inside it."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            continue
        is_none = isinstance(node, ast.Return) and isinstance(node.value, ast.Constant) and node.value.value is None
        if isinstance(node, (ast.Yield, ast.YieldFrom)) or (
            isinstance(node, ast.Return) and node.value and not is_none
        ):
            yield node
        waiting.extend(ast.iter_child_nodes(node))


@lru_cache(maxsize=256)
def defines_build(data: bytes) -> bool:
    """Whether a Python module of this text binds `build` at its top level.

    Raises:
        SyntaxError, ValueError: it does not parse.

    Example:
        >>> defines_build(b"from flows import build"), defines_build(b"def make(): build = 1")
        (True, False)
    """
    return any(_binds_build(node) for node in ast.parse(data).body)


def _binds_build(node: ast.stmt) -> bool:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name == "build"
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return any((alias.asname or alias.name) == "build" for alias in node.names)
    if isinstance(node, ast.Assign):
        return any(
            isinstance(name, ast.Name) and name.id == "build" for target in node.targets for name in ast.walk(target)
        )
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == "build"
    bodies = [getattr(node, part, []) for part in ("body", "orelse", "finalbody")]
    bodies += [handler.body for handler in getattr(node, "handlers", [])]
    return not isinstance(node, ast.ClassDef) and any(_binds_build(child) for body in bodies for child in body)
