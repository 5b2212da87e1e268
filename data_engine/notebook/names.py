"""The names that one top-level statement binds, reads, changes in place and calls, now or later; and the look of expressions:
access paths, containers as written, loop elements, SQL texts.

"Now" is while the statement runs; "later" is in the bodies of functions it defines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

# bits of plain numbers: `|` and `&` of an `enum.IntFlag` take 80 times as long, for each name of a notebook
LOAD = 1
"""The name must exist."""
TABLE = 2
"""SQL selects from the name; it may also be a table of the database."""
HINT = 4
"""The name is meant if it exists: other words of an SQL text, guarded reads."""
NOTE = 8
"""The name is in an annotation, read now unless annotations are lazy."""
CHANGE = 16
"""An attribute or element of the name is assigned or deleted."""
MUTATE = 32
"""A method that changes lists, dicts, sets and deques in place is called on the name."""
CALL = 64
"""The name itself is called."""
SQL = 128
"""The name's value is given to `sql`, `query`, `execute` or `eval`."""
TYPE = 256
"""A text annotation or a bound of a type parameter has the name: meant if it exists, wherever it is defined."""

NOTHING: Mapping[str, int] = {}

Path: TypeAlias = tuple[str, ...]
"""An access path: `logging.getLogger("x").setLevel` is ("logging", "getLogger", "()", "setLevel")."""


class Bare(NamedTuple):
    """A call that stands alone. `text` is its first text argument, or "inplace" for a call with `inplace=`."""

    path: Path
    line: int
    text: str


class Names:
    """The uses of names by one statement. Lines are lines of the cell; flags are the constants above."""

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self.now_lines: dict[str, int] = {}
        self.later: dict[str, int] = {}
        self.later_lines: dict[str, int] = {}
        self.binds: dict[str, int] = {}  # name -> line
        self.targets: set[str] = set()  # bound, but only as a loop or with target
        self.bound_globals: set[str] = set()  # bound by a function's `global`
        self.deletes: set[str] = set()
        self.comprehension_targets: set[str] = set()
        self.imports: dict[str, str] = {}  # name -> what it imports, dotted
        self.additive: set[str] = set()  # `import a.b` adds to `a`
        self.star: str | None = None
        self.future: tuple[str, ...] = ()
        self.relative_line: int | None = None
        self.await_line: int | None = None
        self.changed_parameters = NOTHING  # by its functions
        self.sql_parameters = False  # a function that gives a parameter to `sql` or the like
        self.containers: set[str] = set()  # bound to a list, dict, set or the like as written
        self.aliases: dict[str, Path] = {}  # bound to what this path gives
        self.calls: list[tuple[Path, ast.Call, bool]] = []  # made now: path, call, inside a with that undoes it
        self.inner_calls: list[ast.Call] = []  # made in function bodies
        self.later_calls: list[Path] = []  # made in function bodies, also writes; only the interesting ones
        self.bare: list[Bare] = []  # calls that stand alone
        self.writes: list[tuple[Path, int, bool]] = []  # attributes and elements assigned or deleted now


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


def dotted(parts: Iterable[str]) -> str:
    """The dotted name of an access path.

    Example:
        >>> dotted(("os", "environ", "[]", "strip", "()"))
        'os.environ[].strip()'
    """
    text = ""
    for part in parts:
        text += part if part in ("()", "[]", " =") or not text else "." + part
    return text


def sql_text(text: str) -> tuple[set[str], set[str]]:
    """The words an SQL text selects from, and all its words.

    Example:
        >>> tables, words = sql_text("select day from lookup")
        >>> sorted(tables), sorted(words)
        (['lookup'], ['day', 'from', 'lookup', 'select'])
    """
    return set(_FROM.findall(text)), set(_WORD.findall(text))


def texts_in(node: ast.AST) -> Iterable[str]:
    """Every string constant under `node`."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def names_in(node: ast.AST) -> set[str]:
    """Every name under `node`."""
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def first_text(call: ast.Call) -> str:
    """A call's first argument, if that is a text, or "inplace" for a call with `inplace=`; else ""."""
    if any(keyword.arg == "inplace" for keyword in call.keywords):
        return "inplace"
    first = call.args[0] if call.args else None
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def changed_by_keyword(function: ast.expr, keyword: ast.keyword) -> Path:
    """The path that a call says it changes: `frame.dropna(inplace=True)`, `np.power(2, x, out=y)`.

    Example:
        >>> call = ast.parse("frame.dropna(inplace=True)", mode="eval").body
        >>> changed_by_keyword(call.func, call.keywords[0])
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
