"""Compiles a notebook to the module that production runs: the statements that `build()` needs, as they stand in the cells."""

from __future__ import annotations
import __future__

import ast
import itertools
import os
import re
import types
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from data_engine.argument_checks import checked
from data_engine.errors import NotebookCompileError, cell_place
from data_engine.notebook.compiled import CellPart, CompiledCell, CompiledNotebook, CompiledStatement, CompileWarning
from data_engine.notebook.diagnostics import Diagnostic, cell_fix, warnings_of
from data_engine.notebook.left_out import LeftOutStatements
from data_engine.notebook.magics import ParsedCell, first_line, parse_cell, quiet_syntax
from data_engine.notebook.mistakes import dropped_calls, trouble_of_build
from data_engine.notebook.names import path_of
from data_engine.notebook.read import NotebookCell, TextCell, read_notebook
from data_engine.notebook.slicer import Slicer, place_of
from data_engine.notebook.statements import END, IMPORTS, Statement, Statements
from data_engine.platforms.files import content_of
from data_engine.platforms.names import with_home
from data_engine.record import frozen

_BUILD = re.compile(r"^\s*(?:async\s+)?def\s+build\b|^\s*build\s*=", re.MULTILINE)

CellCodes: TypeAlias = tuple[tuple[int, types.CodeType], ...]
"""The numbers of cells, each with the code of its taken statements."""


@checked()
def compile_notebook(path: str | os.PathLike[str]) -> CompiledNotebook:
    """The part of a notebook that its `build()` needs, as a module. Nothing in the notebook is executed.

    Equal notebooks give equal results, whatever their outputs and execution counts.

    Raises:
        NotebookCompileError: the file cannot be read, is not a notebook, or needs what production cannot give; it names the
            cell, the line and the fix.
        FlowValidationError: `path` is not a path.

    Example:
        >>> import json, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "claims.ipynb"
        >>> cells = ["rate = 0.2", "rate * 100", "def build():\\n    return rate"]
        >>> _ = path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
        ...     {"cell_type": "code", "source": text, "metadata": {}, "outputs": []} for text in cells]}))
        >>> print(compile_notebook(path).source)
        # What build() needs of claims.ipynb, compiled by Data Engine. Edit the notebook, not this text.
        <BLANKLINE>
        # %% claims.ipynb, cell 1
        rate = 0.2
        <BLANKLINE>
        # %% claims.ipynb, cell 3
        def build():
            return rate
        <BLANKLINE>
    """
    file = Path(os.path.abspath(with_home(path)))
    if file.suffix == ".py":
        raise NotebookCompileError(
            flow_name=file.stem, detail="it is a Python module, which runs whole", cell=str(file), fix="load it as it is"
        )  # fmt: skip
    try:
        data = content_of(file)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise NotebookCompileError(
            flow_name=file.stem, detail=f"the file cannot be read: {reason}", cell=str(file), fix="check its path and permissions"
        ) from error  # fmt: skip
    return compile_content(data, file)[0]


def compile_content(data: bytes, path: Path) -> tuple[CompiledNotebook, CellCodes]:
    """`compile_with_codes` of the content of a notebook file.

    Raises:
        NotebookCompileError: as `compile_notebook`.
    """
    cells, texts = read_notebook(data, path=path)
    return compile_with_codes(cells, path, texts)


def compile_with_codes(
    cells: Sequence[NotebookCell], path: Path, texts: Sequence[TextCell] = ()
) -> tuple[CompiledNotebook, CellCodes]:
    """The compiled notebook and, per chunk, its cell's number and code. A code's file name is `<path>, cell <number>`.

    Raises:
        NotebookCompileError: as `compile_notebook`.
    """
    with quiet_syntax():
        parsed = [parse_cell(cell) for cell in cells]
        sliced = slice_cells(parsed, texts)
        if isinstance(sliced, Diagnostic):
            raise _error(sliced, cells, path)
        flags = 0
        for name in sliced.future:
            flags |= getattr(__future__, name).compiler_flag
        chunks: list[CellPart] = []
        codes: list[tuple[int, types.CodeType]] = []
        parts: list[str] = []
        for cell, decisions in zip(parsed, sliced.decisions, strict=True):
            pieces = _pieces(cell, [decision.taken for decision in decisions])
            if not pieces:
                continue
            number = cell.cell.number
            codes.append((number, _code([piece.node for piece in pieces], cell, path, flags)))
            chunks.append(CellPart(number, cell.cell.id, _blanked(pieces), cell.cell.text))
            parts.append(f"# %% {path.name}, cell {number}\n{_joined(pieces)}\n")
    compiled = CompiledNotebook(
        path=path,
        source=_module_text(path, sliced, parts),
        warnings=tuple(
            CompileWarning(warning.message, warning.cell, warning.line, warning.fix, path.name, warning.may_change)
            for warning in sliced.warnings
        ),
        cells=tuple(
            CompiledCell(cell.number, cell.id, decisions)
            for cell, decisions in zip(cells, sliced.decisions, strict=True)
        ),
        chunks=tuple(chunks),
        is_flow=sliced.is_flow,
    )
    return compiled, tuple(codes)


def _pieces(cell: ParsedCell, taken: Sequence[bool]) -> list[_Piece]:
    pieces = []
    floor = 0
    for statement, is_taken in zip(cell.statements, taken, strict=False):
        if is_taken and not statement.names.future:
            pieces.append(_Piece(statement.node, cell.lines, floor))
        floor = statement.node.end_lineno or floor
    return pieces


def _code(nodes: list[ast.stmt], cell: ParsedCell, path: Path, flags: int) -> types.CodeType:
    """The code of a cell's taken statements, compiled from the nodes so that columns stay those of the cell."""
    number = cell.cell.number
    try:
        module = ast.Module(body=nodes, type_ignores=[])
        code: types.CodeType = compile(module, f"{path}, cell {number}", "exec", flags=flags, dont_inherit=True)
    except SyntaxError as error:
        line, problem = error.lineno or 1, str(error.msg)
    except (RecursionError, MemoryError):
        line, problem = nodes[0].lineno, "it is nested too deeply"
    except (ValueError, OverflowError, TypeError) as error:
        line, problem = nodes[0].lineno, str(error)
    else:
        return code
    problem_there = Diagnostic(f"the cell does not compile: {problem}", number, line, cell_fix(problem, line))
    raise _error(problem_there, [cell.cell], path)


def _error(diagnostic: Diagnostic, cells: Sequence[NotebookCell], path: Path) -> NotebookCompileError:
    cell = next((cell for cell in cells if cell.number == diagnostic.cell), None)
    lines = cell.text.split("\n") if cell else []
    text = lines[diagnostic.line - 1] if 0 < diagnostic.line <= len(lines) else ""
    error = NotebookCompileError(
        flow_name=path.stem,
        detail=diagnostic.message,
        cell=f"{path.name}, cell {diagnostic.cell}, line {diagnostic.line}",
        source_line=text.encode("utf-8", "replace").decode() or None,
        fix=diagnostic.fix,
    )
    error.places = (cell_place(path.name, diagnostic.cell, diagnostic.line),)
    return error


_COMMENT = re.compile(r"#(?!\s*\|)")
_COMMENT_REST = re.compile(r"\s*(?:#.*)?")


class _Piece:
    """The text of one kept statement, with the comments that stand directly above and behind it.

    `line` is its first line in the cell, comments included, and `end` its last; `floor` is where the statement before
    it ends.
    """

    __slots__ = ("end", "line", "node", "text")

    def __init__(self, node: ast.stmt, lines: tuple[str, ...], floor: int) -> None:
        self.node = node
        first = first_line(node, lines)
        last = node.end_lineno or first
        decorated = first < node.lineno or bool(getattr(node, "decorator_list", None))
        start = 0 if decorated else _column(lines[first - 1], node.col_offset)
        end = _column(lines[last - 1], node.end_col_offset or 0)
        rest = lines[last - 1][end:]
        if _COMMENT_REST.fullmatch(rest):
            end += len(rest.rstrip())
        if first == last:
            body = [lines[first - 1][start:end]]
        else:
            body = [lines[first - 1][start:], *lines[first : last - 1], lines[last - 1][:end]]
        above = first - 1
        if not lines[first - 1][:start].strip():
            while above > floor and _COMMENT.match(lines[above - 1]):
                above -= 1
        self.line = above + 1
        self.end = last
        self.text = "\n".join([*lines[above : first - 1], *body])


def _column(line: str, offset: int) -> int:
    """A column in characters from one in UTF-8 bytes."""
    return offset if line.isascii() else len(line.encode()[:offset].decode())


def _blanked(pieces: Sequence[_Piece]) -> str:
    text = ""
    line = 1
    for piece in pieces:
        if piece.line < line or (text and piece.line == line and not text.endswith("\n")):
            text += "; " + piece.text
        else:
            text += "\n" * (piece.line - line) + piece.text
        line = piece.end
    return text + "\n"


def _joined(pieces: Sequence[_Piece]) -> str:
    text = pieces[0].text
    for before, piece in itertools.pairwise(pieces):
        text += ("\n\n" if piece.line > before.end + 1 else "\n") + piece.text
    return text


def _module_text(path: Path, sliced: Slice, parts: Sequence[str]) -> str:
    if not sliced.is_flow:
        return ""
    head = f"# What build() needs of {path.name}, compiled by Data Engine. Edit the notebook, not this text.\n"
    if sliced.future:
        head += f"from __future__ import {', '.join(sliced.future)}\n"
    return "\n".join([head, *parts])


@frozen
class Slice:
    """The decisions, one tuple per cell and one entry per statement of the cell.

    `is_flow` is False for a notebook without `build`; `future` are the `from __future__` features that hold for the whole module.
    """

    decisions: tuple[tuple[CompiledStatement, ...], ...]
    warnings: tuple[Diagnostic, ...] = ()
    future: tuple[str, ...] = ()
    is_flow: bool = True


def slice_cells(cells: Sequence[ParsedCell], texts: Sequence[TextCell] = ()) -> Slice | Diagnostic:
    """The slice of these cells that `build()` needs, or why there can be no module; `texts` are the notebook's other cells.

    Example:
        >>> from data_engine.notebook.magics import parse_cell
        >>> from data_engine.notebook.read import NotebookCell
        >>> text = "rate = 0.2\\nscratch = 1\\ndef build(): return rate"
        >>> [decision.taken for decision in slice_cells([parse_cell(NotebookCell(1, "a", text))]).decisions[0]]
        [True, False, True]
    """
    statements = Statements(cells, texts)
    if all("build" in statement.names.targets for statement in statements.events.get("build", ())):
        broken = next(
            (cell for cell in cells if cell.problem and cell.verdict != "skip" and _BUILD.search(cell.cell.text)), None
        )
        if broken is None:
            return Slice(_decisions(statements, {}, "the notebook has no build()"), is_flow=False)
        number = broken.cell.number
        what = f"cell {number}, which holds build(), does not parse: {broken.problem}"
        line = broken.problem_line
        return Diagnostic(what, number, line, cell_fix(broken.problem, line))
    problems = [*_contradictions(cells)]
    owners, _ = statements.reaching("build", END)
    if owners and (trouble := trouble_of_build(owners[0].node)) is not None:
        problems.append(Diagnostic(trouble[0], owners[0].number, owners[0].line, trouble[1]))
    if problems:
        return min(problems, key=place_of)
    slicer = Slicer(statements)
    slicer.take_roots()
    refused: list[Diagnostic] = []
    if not (problems := slicer.problems or slicer.open_problems()):
        refused = slicer.try_the_probable()
        problems = slicer.problems or slicer.open_problems()
    if problems:
        return min(problems, key=place_of)
    selection = slicer.selection()
    if copies := list(_read_copies(statements, selection.taken)):
        return min(copies, key=place_of)
    warnings = sorted(
        [
            *refused,
            *warnings_of(statements, selection),
            *LeftOutStatements(statements, selection.taken).diagnostics(),
            *(
                Diagnostic(call.message, statement.number, call.line, call.fix)
                for statement in statements.all
                if statement.index in selection.taken
                for call in dropped_calls(statement.node)
            ),
        ],
        key=lambda diagnostic: (*place_of(diagnostic), diagnostic.message),
    )
    decisions = _decisions(statements, selection.taken, "build() does not need it", selection.followed)
    return Slice(decisions, tuple(dict.fromkeys(warnings)), future=statements.future)


_READ_COPY = re.compile(r"data_engine(\.client)?\.Workspace(\.current|\.create)?\(\)\.database\(\)")


def _read_copies(statements: Statements, taken: Collection[int]) -> Iterator[Diagnostic]:
    """The calls in needed statements that give a read copy of a database, which production does not have."""
    for statement in statements.all:
        if statement.index not in taken or ".database(" not in statement.cell.cell.text:
            continue
        for node in (*(call[1] for call in statement.names.calls), *statement.names.inner_calls):
            if _READ_COPY.fullmatch(statements.resolve(path_of(node), statement)):
                name = ast.unparse(node.args[0]) if node.args else "name"
                what = f"build() needs `{ast.unparse(node)}`, a read copy on this machine"
                fix = f"read it in a step: context.database({name}, read_only=True)"
                yield Diagnostic(what, statement.number, node.lineno, fix)


def _contradictions(cells: Iterable[ParsedCell]) -> Iterator[Diagnostic]:
    for cell in cells:
        number = cell.cell.number
        if cell.verdict == "both":
            yield Diagnostic(f"cell {number} is marked both keep and skip", number, 1, "remove one of the marks")
        elif cell.verdict == "keep" and cell.problem:
            what = f"cell {number} is marked keep but does not parse: {cell.problem}"
            yield Diagnostic(what, number, cell.problem_line, cell_fix(cell.problem, cell.problem_line))
        elif cell.verdict == "keep" and cell.language:
            what = f"cell {number} is marked keep but is a {cell.language} cell"
            yield Diagnostic(what, number, 1, "write it in Python, or remove the mark")


def _decisions(
    statements: Statements, taken: Mapping[int, str], otherwise: str, followed: Collection[str] = ()
) -> tuple[tuple[CompiledStatement, ...], ...]:
    decisions: dict[int, list[CompiledStatement]] = {id(cell): [] for cell in statements.cells}
    for statement in statements.all:
        why = taken.get(statement.index) or (_why_left(statements, statement, followed) if taken else "") or otherwise
        decisions[id(statement.cell)].append(CompiledStatement(statement.line, statement.index in taken, why))
    for cell in statements.cells:
        if cell.language:
            decisions[id(cell)].append(CompiledStatement(1, False, f"a {cell.language} cell stays in the notebook"))
        elif cell.problem:
            why = f"the cell does not parse: {cell.problem}"
            decisions[id(cell)].append(CompiledStatement(cell.problem_line, False, why))
    return tuple(tuple(entries) for entries in decisions.values())


def _why_left(statements: Statements, statement: Statement, followed: Collection[str]) -> str:
    """Why a statement is left out; "" where nothing needs it."""
    if statement.is_skipped:
        return "its cell is marked skip"
    if statement.magic:
        return f"{statement.magic} stays in the notebook"
    if statement.index in statements.repeats:
        return f"imported in cell {statements.repeats[statement.index]} already"
    if isinstance(statement.node, IMPORTS):
        return "used only by what is left out"
    for name in statement.names.binds:
        if name in followed and name not in statement.names.targets:
            return f"cell {statements.reaching(name, END)[0][0].number} defines `{name}` again"
    return ""
