"""Which statements of a notebook `build()` needs, and why: the rule of the compiler, pure over parsed cells.

`slicer.py` follows names from `build` and `DESCRIPTION` to the statements that supply them; what names tell of the others is
`left_out.py`. Here both come together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from data_engine.notebook.build_function import trouble_of_build
from data_engine.notebook.diagnostics import Diagnostic, cell_fix, warnings_of
from data_engine.notebook.flow_calls import doubtful_calls, may_hold_flow
from data_engine.notebook.left_out import LeftOut
from data_engine.notebook.magics import ParsedCell
from data_engine.notebook.read import TextCell
from data_engine.notebook.slicer import Slicer, place_of
from data_engine.notebook.statements import END, IMPORTS, Statement, Statements
from data_engine.record import frozen


@frozen
class Decision:
    """Whether one statement goes to production, and why."""

    line: int
    taken: bool
    why: str


@frozen
class Slice:
    """The decisions, one tuple per cell and one entry per statement of the cell.

    `is_flow` is False for a notebook without `build`; `problem` says why there can be no module; `future` are the
    `from __future__` features that hold for the whole module.
    """

    decisions: tuple[tuple[Decision, ...], ...]
    warnings: tuple[Diagnostic, ...] = ()
    problem: Diagnostic | None = None
    future: tuple[str, ...] = ()
    is_flow: bool = True


def slice_cells(cells: Sequence[ParsedCell], texts: Sequence[TextCell] = ()) -> Slice:
    """What `build()` needs of these cells; `texts` are the notebook's other cells.

    Example:
        >>> from data_engine.notebook.magics import parse_cell
        >>> from data_engine.notebook.read import NotebookCell
        >>> text = "rate = 0.2\\nscratch = 1\\ndef build(): return rate"
        >>> [decision.taken for decision in slice_cells([parse_cell(NotebookCell(1, "a", text))]).decisions[0]]
        [True, False, True]
    """
    statements = Statements(cells, texts)
    if all("build" in statement.names.targets for statement in statements.events.get("build", ())):
        broken = next((cell for cell in cells if cell.problem and _means_build(cell)), None)
        if broken is None:
            return Slice(_decisions(statements, {}, "the notebook has no build()"), is_flow=False)
        number = broken.cell.number
        what = f"cell {number}, which holds build(), does not parse: {broken.problem}"
        line = broken.problem_line
        problems = [Diagnostic(what, number, line, cell_fix(broken.problem, line))]
        return _failed(statements, problems)
    problems = [*_contradictions(cells), *_wrong_builds(statements)]
    if problems:
        return _failed(statements, problems)
    slicer = Slicer(statements)
    slicer.take_roots()
    problems = slicer.problems or slicer.open_problems()
    if problems:
        return _failed(statements, problems)
    refused = slicer.try_the_probable()
    problems = slicer.problems or slicer.open_problems()
    if problems:
        return _failed(statements, problems)
    selection = slicer.selection()
    warnings = sorted(
        [
            *refused,
            *warnings_of(statements, selection),
            *LeftOut(statements, selection.taken, slicer.call_graph).diagnostics(),
            *_about_calls(statements, selection.taken),
        ],
        key=lambda diagnostic: (*place_of(diagnostic), diagnostic.message),
    )
    decisions = _decisions(statements, selection.taken, "build() does not need it", selection.followed)
    return Slice(decisions, tuple(dict.fromkeys(warnings)), future=statements.future)


def _about_calls(statements: Statements, taken: Mapping[int, str]) -> Iterator[Diagnostic]:
    """What the functions that are needed do with flows, and is hardly meant."""
    for statement in statements.all:
        is_build = "build" in statement.names.binds
        if statement.index in taken and may_hold_flow(statement.cell.cell.text, is_build=is_build):
            for call in doubtful_calls(statement.node):
                yield Diagnostic(call.message, statement.number, call.line, call.fix)


def _failed(statements: Statements, problems: Iterable[Diagnostic]) -> Slice:
    decisions = _decisions(statements, {}, "the notebook does not compile")
    return Slice(decisions, problem=min(problems, key=place_of), future=statements.future)


def _means_build(cell: ParsedCell) -> bool:
    if cell.verdict == "skip":
        return False
    return re.search(r"^\s*(?:async\s+)?def\s+build\b|^\s*build\s*=", cell.cell.text, re.MULTILINE) is not None


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


def _wrong_builds(statements: Statements) -> Iterator[Diagnostic]:
    """What is wrong with the statement that binds `build` last."""
    found, _ = statements.reaching("build", END)
    trouble = trouble_of_build(found[0].node) if found else None
    if trouble is not None:
        yield Diagnostic(trouble[0], found[0].number, found[0].line, trouble[1])


def _decisions(
    statements: Statements, taken: Mapping[int, str], otherwise: str, followed: Collection[str] = ()
) -> tuple[tuple[Decision, ...], ...]:
    decisions: dict[int, list[Decision]] = {id(cell): [] for cell in statements.cells}
    for statement in statements.all:
        why = taken.get(statement.index) or (_why_left(statements, statement, followed) if taken else "") or otherwise
        decisions[id(statement.cell)].append(Decision(statement.line, statement.index in taken, why))
    for cell in statements.cells:
        if cell.language:
            decisions[id(cell)].append(Decision(1, False, f"a {cell.language} cell stays in the notebook"))
        elif cell.problem:
            why = f"the cell does not parse: {cell.problem}"
            decisions[id(cell)].append(Decision(cell.problem_line, False, why))
    return tuple(tuple(entries) for entries in decisions.values())


def _why_left(statements: Statements, statement: Statement, followed: Collection[str]) -> str:
    """Why a statement is left out, "" for no reason but that nothing needs it."""
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
