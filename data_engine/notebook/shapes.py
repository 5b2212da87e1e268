"""What expressions are by their looks: access paths, containers as written, loop elements, SQL texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from data_engine.notebook.names import Path

_WORD = re.compile(r"[^\W\d]\w*")
_FROM = re.compile(r"\b(?:from|join)\s+\"?([^\W\d]\w*)", re.IGNORECASE)
_PASSING_ON = frozenset({"enumerate", "zip", "reversed", "sorted", "list", "tuple"})
_CONTAINER_NODES = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_CONTAINER_CALLS = frozenset(
    {"list", "dict", "set", "deque", "defaultdict", "OrderedDict", "Counter", "sorted", "fromkeys", "split"}
)


def path_of(node: ast.expr) -> Path:
    """The access path an expression begins with; its first part is "" when that is no name.

    Example:
        >>> path_of(ast.parse("os.environ['A'].strip()", mode="eval").body)
        ('os', 'environ', '[]', 'strip', '()')
    """
    parts: list[str] = []
    while True:
        kind = node.__class__
        if kind is ast.Attribute:
            parts.append(node.attr)  # type: ignore[attr-defined]
            node = node.value  # type: ignore[attr-defined]
        elif kind is ast.Call:
            parts.append("()")
            node = node.func  # type: ignore[attr-defined]
        elif kind is ast.Subscript:
            parts.append("[]")
            node = node.value  # type: ignore[attr-defined]
        elif kind is ast.Await:
            node = node.value  # type: ignore[attr-defined]
        else:
            parts.append(node.id if kind is ast.Name else "")  # type: ignore[attr-defined]
            parts.reverse()
            return tuple(parts)


def sql_words(text: str) -> tuple[set[str], set[str]]:
    """The words an SQL text selects from, and all its words.

    Example:
        >>> tables, words = sql_words("select day from lookup")
        >>> sorted(tables), sorted(words)
        (['lookup'], ['day', 'from', 'lookup', 'select'])
    """
    return set(_FROM.findall(text)), set(_WORD.findall(text))


def texts_in(node: ast.AST) -> Iterable[str]:
    """Every string constant under `node`."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def first_text(call: ast.Call) -> str:
    """A call's first argument, if that is a text, or "inplace" for a call with `inplace=`; else ""."""
    if any(keyword.arg == "inplace" for keyword in call.keywords):
        return "inplace"
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def said_in_place(function: ast.expr, keyword: ast.keyword) -> Path:
    """What a call says itself that it changes: `frame.dropna(inplace=True)`, `np.power(2, x, out=y)`.

    Example:
        >>> call = ast.parse("frame.dropna(inplace=True)", mode="eval").body
        >>> said_in_place(call.func, call.keywords[0])
        ('frame', 'dropna')
    """
    if keyword.arg == "out":
        return path_of(keyword.value)
    is_true = isinstance(keyword.value, ast.Constant) and keyword.value.value is True
    return path_of(function) if is_true else ("",)


def reads_tables(text: str) -> bool:
    """Whether a text looks like SQL that selects from something."""
    return " " in text and _FROM.search(text) is not None


def elements(target: ast.expr, iterable: ast.expr) -> dict[str, tuple[str, ...]]:
    """The variables of a loop, and the names of the containers whose elements they are.

    Example:
        >>> loop = ast.parse("for i, row in enumerate(ROWS): pass").body[0]
        >>> elements(loop.target, loop.iter)
        {'i': ('ROWS',), 'row': ('ROWS',)}
    """
    wholes = tuple(_wholes(iterable))
    names = (
        [target] if isinstance(target, ast.Name) else [part for part in ast.walk(target) if isinstance(part, ast.Name)]
    )
    return {name.id: tuple(whole for whole in wholes if whole != name.id) for name in names}


def is_container(value: ast.expr) -> bool:
    """Whether an expression is a list, dict, set or deque by its looks: a display, comprehension or constructor.

    Example:
        >>> [is_container(ast.parse(text, mode="eval").body) for text in ("['a'] + x", "deque(x)", "load(x)")]
        [True, True, False]
    """
    while isinstance(value, ast.BinOp):
        if is_container(value.right):
            return True
        value = value.left
    if isinstance(value, _CONTAINER_NODES):
        return True
    if isinstance(value, ast.Call):
        function = value.func
        name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        return name in _CONTAINER_CALLS
    if isinstance(value, ast.IfExp):
        return is_container(value.body) or is_container(value.orelse)
    return False


def _wholes(iterable: ast.expr) -> Iterator[str]:
    if isinstance(iterable, ast.Call) and isinstance(iterable.func, ast.Name) and iterable.func.id in _PASSING_ON:
        for argument in iterable.args:
            yield from _wholes(argument)
        return
    if isinstance(iterable, (ast.List, ast.Tuple, ast.Set)):
        for element in iterable.elts:
            if isinstance(element, (ast.Name, ast.Tuple)):
                yield from _wholes(element)
        return
    path = path_of(iterable)
    if path[0] and "()" not in path[:-1] and (path[-1] != "()" or path[-2] in ("values", "items")):
        yield path[0]


def is_false(node: ast.expr) -> bool:
    """Whether an expression is `False`, `None` or the like as written."""
    return isinstance(node, ast.Constant) and not node.value
