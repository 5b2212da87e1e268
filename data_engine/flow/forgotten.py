"""Whether a step gave None because its author forgot to write `return`, as its code tells."""

from __future__ import annotations

from data_engine.flow.spec import StepSpec, function_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ast
    from collections.abc import Iterator


def forgotten_return(step: StepSpec, result: object) -> str | None:
    """What is said of a saved result that is None where the step's function returns a value nowhere; else None.

    Who writes `return None` means it. Nothing is said of a function whose text is not at hand, and of a lambda.

    Example:
        >>> def read(context): return None
        >>> forgotten_return(StepSpec(read, None, "raw_df", "Read", "read"), None) is None
        True
    """
    if result is not None or step.save_as is None or not _returns_nothing(step.fn):
        return None
    return f"{step.save_as} is None: is the `return` of {function_name(step.fn)} missing?"


def _returns_nothing(fn: object) -> bool:
    """Whether the text of a function has no `return` with a value; False where nobody can tell."""
    import ast
    import inspect
    from functools import partial
    from textwrap import dedent

    try:
        while isinstance(fn, partial):
            fn = fn.func
        fn = inspect.unwrap(fn)  # type: ignore[arg-type]
        if not (inspect.isfunction(fn) or inspect.ismethod(fn)):
            return False
        body = ast.parse(dedent(inspect.getsource(fn))).body
    except (OSError, TypeError, ValueError, SyntaxError):
        return False
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        return False
    return not any(isinstance(one, ast.Return) and one.value is not None for one in _own_statements(body[0].body))


def _own_statements(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """All below `nodes` that is not part of a function or class defined there."""
    import ast

    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
