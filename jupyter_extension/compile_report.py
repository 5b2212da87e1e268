"""What production takes of a notebook, cell by cell, as a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from data_engine.counted import counted
from data_engine.cut import beginning
from data_engine.marks import Mark, mark_of
from data_engine.notebook.compiled import CompiledNotebook
from jupyter_extension.card import Card, Cell, Code, Faint, Lines, Note, Part, table

_MOST_STATEMENTS = 200
_LONGEST = 60


def compile_card(
    compiled: CompiledNotebook,
    *,
    texts: Mapping[int, Sequence[str]],
    deployment: str = "",
    diff: Mapping[int, Sequence[str]] | None = None,
) -> Card:
    """Each statement with whether production takes it and why; warnings before, the module's text after, folded.

    `texts` are the cells' lines by cell number, `deployment` how it stands to what is deployed, `diff` the lines of each
    cell that went and came since.
    """
    rows: list[tuple[Cell, ...]] = []
    taken = total = 0
    for cell in compiled.cells:
        lines = texts.get(cell.number, ())
        for number, statement in enumerate(cell.statements):
            total += 1
            taken += statement.taken
            text = lines[statement.line - 1].strip() if statement.line <= len(lines) else ""
            rows.append(
                (
                    f"{cell.number}" if number == 0 else "",
                    Faint(str(statement.line)),
                    mark_of("taken" if statement.taken else "left"),
                    Code(beginning(text, _LONGEST), text),
                    Faint(statement.why),
                )
            )
    parts: list[Part] = []
    for warning in compiled.warnings:
        told = Mark(f"cell {warning.cell}, line {warning.line}: {warning.message}", "warn", "triangle")
        parts.append(Note(told, warning.fix or ""))
    if rows:
        columns = ("Cell", "Line", "", "Statement", "Why")
        parts.append(table(columns, rows[:_MOST_STATEMENTS], right=("Cell", "Line"), total=len(rows)))
    if diff:
        gone = [line for cell, changed in diff.items() for line in (f"cell {cell}", *changed)]
        parts.append(Lines(tuple(gone), "deployed (-) and now (+)"))
    if compiled.is_flow:
        parts.append(
            Lines(tuple(compiled.source.rstrip("\n").split("\n")), "the module production runs", only_folded=True)
        )
    facts: list[Cell] = [f"{taken} of {counted(total, 'statement')} in production"]
    if not compiled.is_flow:
        facts = [Mark("no build(): a scratch notebook, not a flow")]
    elif deployment:
        is_current = deployment == "as deployed"
        facts.append(Mark(deployment, "good" if is_current else "warn", "disc" if is_current else "triangle"))
    if compiled.warnings:
        facts.append(counted(len(compiled.warnings), "warning"))
    return Card(compiled.path.name, tuple(facts), tuple(parts))
