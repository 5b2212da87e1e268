"""What one top-level statement does with names: which it binds, reads, changes in place and calls, now or later.

"Now" is while the statement runs; "later" is in the bodies of functions it defines.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

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
TYPE = 256
"""A text annotation or a bound of a type parameter names it: meant if it exists, wherever it is defined."""
SQL = 128
"""The name's value is given to `sql`, `query`, `execute` or `eval`."""

NOTHING: Mapping[str, int] = {}

Path: TypeAlias = tuple[str, ...]
"""An access path: `logging.getLogger("x").setLevel` is ("logging", "getLogger", "()", "setLevel")."""


class Bare(NamedTuple):
    """A call that stands alone. `text` is its first text argument, or "inplace" for a call with `inplace=`."""

    path: Path
    line: int
    text: str


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
        "changed_parameters",
        "comprehension_targets",
        "containers",
        "deletes",
        "future",
        "imports",
        "inner_calls",
        "later",
        "later_calls",
        "later_lines",
        "now",
        "now_lines",
        "relative_line",
        "sql_parameters",
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
        self.changed_parameters = NOTHING  # of its functions: what they change of what they are given
        self.sql_parameters = False  # a function that gives a parameter to `sql` or the like
        self.containers: set[str] = set()  # bound to a list, dict, set or the like as written
        self.aliases: dict[str, Path] = {}  # bound to what this path gives
        self.calls: list[tuple[Path, ast.Call, bool]] = []  # made now: path, call, inside a with that undoes it
        self.inner_calls: list[ast.Call] = []  # made in function bodies
        self.later_calls: list[Path] = []  # made in function bodies, also writes; only the interesting ones
        self.bare: list[Bare] = []  # calls that stand alone
        self.writes: list[tuple[Path, int, bool]] = []  # attributes and elements assigned or deleted now
