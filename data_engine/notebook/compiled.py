"""The values of a compiled notebook: the module's text, and for each statement whether it is part of it, and why."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path

from data_engine.display_hook import Displayable
from data_engine.record import Record, frozen

FORMAT = 9
"""Raised with every change of what the compiler makes of the same notebook, and of the classes below, which are kept in files."""


@frozen
class CompileWarning(Record):
    """Something the author should know about a line of a cell, and its fix; `may_change` is the needed name that a left-out call
    may change, which a comparison with the kernel settles.

    Example:
        >>> print(CompileWarning("pl.read_csv() reads data", cell=4, line=3, fix="read it in a step", notebook="a.ipynb"))
        a.ipynb, cell 4, line 3: pl.read_csv() reads data (read it in a step)
    """

    message: str
    cell: int
    line: int
    fix: str | None
    notebook: str
    may_change: str = ""

    def __str__(self) -> str:
        fix = f" ({self.fix})" if self.fix else ""
        return f"{self.notebook}, cell {self.cell}, line {self.line}: {self.message}{fix}"


@frozen
class CompiledStatement(Record):
    """Whether one top-level statement was taken, and why; `line` counts in its cell."""

    line: int
    taken: bool
    why: str


@frozen
class CompiledCell(Record):
    """The statements of one code cell, taken or not. `number` counts the notebook's code cells from 1."""

    number: int
    id: str
    statements: tuple[CompiledStatement, ...] = field(metadata={"of": CompiledStatement.read})


@frozen
class CellPart(Record):
    """The part of one cell in the module: `text` has the cell's line numbers, all that is left out is blank.

    `original` is the cell as written, for tracebacks.
    """

    cell: int
    cell_id: str
    text: str
    original: str


@frozen
class CompiledNotebook(Displayable):
    """A notebook as a module. `source` is the whole module text; `cells` say whether each statement was taken, and why.

    `is_flow` is False for a notebook without `build` ("scratch"), which gives an empty module.
    """

    path: Path
    source: str
    warnings: tuple[CompileWarning, ...]
    cells: tuple[CompiledCell, ...]
    chunks: tuple[CellPart, ...]
    is_flow: bool

    @property
    def name(self) -> str:
        """The flow's name."""
        return self.path.stem
