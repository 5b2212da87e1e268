"""What one top-level statement does with names: which it binds, reads, changes in place and calls, now or later.

"Now" is while the statement runs; "later" is in the bodies of functions it defines.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

LOAD = 1
"""The name must exist."""
TABLE = 2
"""SQL selects from the name; it may also be a table of the database."""
HINT = 4
"""The name is meant if it exists: other words of an SQL text, text annotations, guarded reads."""
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

Path: TypeAlias = tuple[str, ...]
"""An access path: `logging.getLogger("x").setLevel` is ("logging", "getLogger", "()", "setLevel")."""

_WORD = re.compile(r"[^\W\d]\w*")
_FROM = re.compile(r"\b(?:from|join)\s+\"?([^\W\d]\w*)", re.IGNORECASE)


class Bare(NamedTuple):
    """A call that stands alone. `text` is its first text argument, or "inplace" for a call with `inplace=`.

    `given` are the names its arguments begin with, "" for others.
    """

    path: Path
    line: int
    text: str
    given: tuple[str, ...]


class Names:
    """What one statement does with names. Lines are lines of the cell; flags are the constants above."""

    __slots__ = (
        "additive",
        "aliases",
        "await_line",
        "bare",
        "binds",
        "bound_globals",
        "calls",
        "changes_parameters",
        "comprehension_targets",
        "containers",
        "deletes",
        "future",
        "imports",
        "later",
        "later_calls",
        "later_lines",
        "now",
        "now_lines",
        "relative_line",
        "star",
        "targets",
        "writes",
    )

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
        self.changes_parameters = False  # a function that changes what it is given
        self.containers: set[str] = set()  # bound to a list, dict, set or the like as written
        self.aliases: dict[str, Path] = {}  # bound to what this path gives
        self.calls: list[tuple[Path, int, bool]] = []  # made now: path, line, inside a with that undoes it
        self.later_calls: list[Path] = []  # made in function bodies, also writes; only the interesting ones
        self.bare: list[Bare] = []  # calls that stand alone
        self.writes: list[tuple[Path, int, bool]] = []  # attributes and elements assigned or deleted now


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


def reads_tables(text: str) -> bool:
    """Whether a text looks like SQL that selects from something."""
    return " " in text and _FROM.search(text) is not None
