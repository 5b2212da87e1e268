"""Whether a step's author forgot something, as its code tells: to write `return`, or to compute the LazyFrame that it ends with."""

from __future__ import annotations

import re

from data_engine.flow.batch import is_lazy_frame
from data_engine.flow.spec import StepSpec, function_name

_NAMES_OF_USE = re.compile(r"collect|sink|write|save|export|\bsql\b|fetch")
"""Words of what computes a LazyFrame, in the text of a function that may do it by one of its own."""

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
    if result is not None or step.save_as is None or returns_a_value(step.fn, unless_known=True):
        return None
    return f"{step.save_as} is None: is the `return` of {function_name(step.fn)} missing?"


def never_computed(step: StepSpec, result: object) -> str | None:
    """What is said of a LazyFrame that the last step gave and does not collect or write itself; None of every other result.

    Nothing is said of a function whose text is not at hand, and of a lambda.

    Example:
        >>> never_computed(StepSpec(len, None, "raw_df", "Read", "read"), None) is None
        True
    """
    if not is_lazy_frame(result):
        return None
    body = _body_of(step.fn)
    if body is None or _NAMES_OF_USE.search(body):
        return None
    return (
        f"the last step, {function_name(step.fn)}, gives a LazyFrame, of which nothing is computed before it is collected:"
        " end with .collect(), or write it, frame.sink_parquet(...)"
    )


def _body_of(fn: object) -> str | None:
    """The text of a function; None where nobody can tell, and of a lambda."""
    import inspect
    from functools import partial

    try:
        while isinstance(fn, partial):
            fn = fn.func
        fn = inspect.unwrap(fn)  # type: ignore[arg-type]
        if not (inspect.isfunction(fn) or inspect.ismethod(fn)) or fn.__name__ == "<lambda>":
            return None
        return inspect.getsource(fn)
    except (OSError, TypeError, ValueError):
        return None


def returns_a_value(fn: object, *, unless_known: bool = False) -> bool:
    """Whether the text of a function has a `return` with a value, which may be None; `unless_known` where nobody can tell."""
    import ast
    from textwrap import dedent

    try:
        body = ast.parse(dedent(_body_of(fn) or "")).body
    except (ValueError, SyntaxError):
        return unless_known
    if len(body) != 1 or not isinstance(body[0], ast.FunctionDef):
        return unless_known
    return any(isinstance(one, ast.Return) and one.value is not None for one in _own_statements(body[0].body))


def _own_statements(nodes: list[ast.stmt]) -> Iterator[ast.AST]:
    """All below `nodes` that is not part of a function or class defined there."""
    import ast

    todo: list[ast.AST] = list(nodes)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            todo.extend(ast.iter_child_nodes(node))
