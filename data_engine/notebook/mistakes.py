"""Mistakes in an author's code that show before it runs: `build` returns nothing or is no function any more, a call makes a Flow that
nobody keeps, and a secret stands there as text: all who see the workspace can read what is deployed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache

from data_engine.formatting import beginning
from data_engine.record import frozen

_VERBS = frozenset("alert check collect expect map mirror params step step_each watch".split())
"""The verbs that give another Flow."""
_LONGEST_CALL = 60
_INNER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def trouble_of_build(statement: ast.stmt) -> tuple[str, str] | None:
    """The mistake of a statement that binds `build`, and its fix; None where it looks right or is unclear.

    Example:
        >>> trouble_of_build(ast.parse("build = build()").body[0])
        ('`build` becomes what build() returned, and is not a function any more', 'give it another name: `flow = build()`')
        >>> trouble_of_build(ast.parse("def build(): return Flow(group='A')").body[0]) is None
        True
    """
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)) and statement.name == "build":
        if isinstance(statement, ast.AsyncFunctionDef):
            return "build() is `async`, so it returns no Flow", "write it as `def build():`"
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
    """The value that the statement assigns to `build` alone."""
    if isinstance(statement, ast.Assign):
        names = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        names = [statement.target]
    else:
        return None
    is_build = any(isinstance(name, ast.Name) and name.id == "build" for name in names)
    return statement.value if is_build else None


def _results(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """The statements that give a function a result, `return` with a value and `yield`; not those of functions inside it."""
    for node in _own(body):
        value = node.value if isinstance(node, ast.Return) else None
        is_none = isinstance(value, ast.Constant) and value.value is None
        if isinstance(node, (ast.Yield, ast.YieldFrom)) or (value is not None and not is_none):
            yield node


def _own(body: list[ast.stmt]) -> Iterator[ast.AST]:
    """All nodes below these statements, without those inside a function or class defined there."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, _INNER):
            waiting.extend(ast.iter_child_nodes(node))


@frozen
class DroppedCall:
    """A statement that makes another Flow and drops it, the fix, and its line (of a file, a cell or a function)."""

    line: int
    message: str
    fix: str


def dropped_calls(statement: ast.stmt) -> list[DroppedCall]:
    """The statements of a function that only call a verb of a Flow; none of any other statement.

    Flows are the names that are assigned the result of `Flow(...)` or of a flow's verb, and in `build` those that it returns.

    Example:
        >>> text = "def build():\\n    flow = Flow('A')\\n    flow.step(add, save_as='b')\\n    return flow"
        >>> [call] = dropped_calls(ast.parse(text).body[0])
        >>> call.line, call.message, call.fix
        (3, "build() drops what `flow.step(add, save_as='b')` gives: a Flow does not change", 'write `flow = flow.step(...)`')
    """
    if not isinstance(statement, ast.FunctionDef):
        return []
    own = sorted((node for node in _own(statement.body) if isinstance(node, ast.stmt)), key=lambda node: node.lineno)
    roots = (_chain(node.value)[0] for node in own if isinstance(node, ast.Return))
    flows = {root.id for root in roots if isinstance(root, ast.Name)} if statement.name == "build" else set()
    calls = []
    for node in own:
        root, verbs = _chain(getattr(node, "value", None))
        name = getattr(root, "id", "")
        if not _VERBS.issuperset(verbs) or not (_makes_flow(root) or name in flows):
            continue
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            flows.update(target.id for target in targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.Expr) and verbs:
            shown = beginning(" ".join(ast.unparse(node.value).split()), _LONGEST_CALL)
            message = f"{statement.name}() drops what `{shown}` gives: a Flow does not change"
            fix = f"write `{name} = {name}.{verbs[-1]}(...)`" if name else "give it a name, or return it"
            calls.append(DroppedCall(node.lineno, message, fix))
    return calls


def _makes_flow(node: ast.expr | None) -> bool:
    called = getattr(node, "func", None)
    return "Flow" in (getattr(called, "attr", ""), getattr(called, "id", ""))


def _chain(node: ast.expr | None) -> tuple[ast.expr | None, list[str]]:
    """The root of a chain of calls, and the methods called on it, the last one first."""
    verbs = []
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr != "Flow":
        verbs.append(node.func.attr)
        node = node.func.value
    return node, verbs


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


_SECRETS = frozenset(
    "password passwort passwd pwd kennwort passphrase secret token apikey api_key access_key secret_key private_key auth_key account_key".split()
)
_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_PLACEHOLDER = re.compile(r"<.*>|\{.*\}|\$\{\w+\}|\$[A-Z_]+|%\w+%|[.*x?-]+|(?i:none|null|todo)|")
_PART_OF_NAME = re.compile("|".join(_SECRETS).replace("_", "_?"), re.IGNORECASE)
_TAKE_COLUMNS = frozenset("with_columns select agg rename assign alias struct replace format".split())


def written_secrets(node: ast.AST) -> Iterator[tuple[str, int]]:
    """The names of secrets that code gives a text, each with its line: in assignments, and in arguments by keyword.

    Example:
        >>> list(written_secrets(ast.parse('PASSWORT = "hunter2"\\nconnect(api_key="k3y")')))
        [('PASSWORT', 1), ('api_key', 2)]
        >>> list(written_secrets(ast.parse('token_count = "many"\\npassword = context.secret("shop")\\nTOKEN = "token"')))
        []
    """
    for part in ast.walk(node):
        named: list[tuple[str | None, ast.expr | None]] = []
        if isinstance(part, ast.Assign):
            named = [(_name(target), part.value) for target in part.targets]
        elif isinstance(part, ast.AnnAssign):
            named = [(_name(part.target), part.value)]
        elif isinstance(part, ast.Call) and getattr(part.func, "attr", "") not in _TAKE_COLUMNS:
            named = [(word.arg, word.value) for word in part.keywords]
        for name, value in named:
            if name is not None and value is not None and is_name_of_secret(name) and _is_secret(value):
                yield name, value.lineno


def may_name_secret(text: str) -> bool:
    """Whether a text holds a part of such a name; code without one need not be searched."""
    return _PART_OF_NAME.search(text) is not None


def secret_text(name: str) -> tuple[str, str]:
    """The warning of a text under the name of a secret, and the fix."""
    return (
        f"`{name}` holds a secret as plain text: a deployment holds the code, and everybody who sees the workspace's folder can read it",
        'keep it with `data-engine secret set NAME`, and read it in a step with context.secret("NAME"); if it was deployed or'
        " committed, change the secret itself first",
    )


def is_name_of_secret(name: str) -> bool:
    """Whether a name says that it is a secret: by how it ends.

    Example:
        >>> [is_name_of_secret(name) for name in ("DB_PASSWORD", "apiKey", "token_count", "secretary")]
        [True, True, False, False]
    """
    words = [word.lower() for word in _WORD.findall(name)]
    return bool(words) and (words[-1] in _SECRETS or "_".join(words[-2:]) in _SECRETS)


def _is_secret(value: ast.expr) -> bool:
    """Whether a value is a text, and no placeholder or name of a column, a setting or a variable."""
    text = value.value.strip() if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
    return _PLACEHOLDER.fullmatch(text) is None and not (
        is_name_of_secret(text) and (text.isidentifier() or " " in text)
    )


def _name(target: ast.expr) -> str | None:
    if isinstance(target, ast.Name):
        return target.id
    if isinstance(target, ast.Attribute):
        return target.attr
    key = target.slice if isinstance(target, ast.Subscript) else None
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None
