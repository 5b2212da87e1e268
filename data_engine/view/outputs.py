"""Rows that checks reject, and outputs whose sources are gone: the lists of them, and how they are moved aside and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from data_engine.display_hook import Listing
from data_engine.engine.left_behind import MOST_RUNS, LeftBehind, known_elsewhere, readers_of
from data_engine.engine.quarantine import check_workbook_name, write_workbook
from data_engine.formatting import cli_line, first_few, local_time, path_in, plural
from data_engine.ledger.outputs import written_here
from data_engine.status.deploy_lines import deployed_flows
from data_engine.view.card import Card, Column, Lines, Note, Part, table
from data_engine.view.flows import FlowName
from data_engine.view.verb import Answer, Option, Place, Subject, said

if TYPE_CHECKING:
    from data_engine.client import Workspace


def rejected(
    place: Place,
    name: Annotated[str | None, Subject("NAME", "A flow; else all.", "flow")] = None,
    excel: Annotated[str | None, Option("Write the rows as a workbook.", "FILE")] = None,
) -> Answer:
    """The rows that checks reject now, with the rules they break; `--excel` gives them to whoever owns the data."""
    if excel is not None:
        check_workbook_name(excel)
    entries = Listing(place.workspace.rejected(name))
    if not entries:
        return said("No rows are rejected.", [])
    written = None if excel is None else write_workbook(entries, excel)

    def card() -> Card:
        columns = ("Flow", Column("Source", "path"), Column("Rows", "number"), Column("Rules", "name"))
        rules = (", ".join(f"{rule} {count:,}" for rule, count in entry.rules.items()) for entry in entries)
        rows = [
            (entry.flow, entry.source or "", f"{entry.rows:,}", words)
            for entry, words in zip(entries, rules, strict=True)
        ]
        return Card("", (), (table(columns, rows), *([] if written is None else [Lines((f"wrote {written}",))])))

    return Answer(card, lambda: [entry.as_dict() for entry in entries], value=entries)


def tidy(
    place: Place,
    name: FlowName = None,
    yes: Annotated[bool, Option("Move them aside without asking.")] = False,
    back: Annotated[bool, Option("Move back what was moved aside last.")] = False,
) -> Answer:
    """List the outputs and rows whose source files are gone, of one flow or of all, and move them aside when asked. Nothing is deleted."""
    with place.inside():
        return _put_back(place.workspace, name) if back else _set_aside(place, name, yes)


def _put_back(ws: Workspace, name: str | None) -> Answer:
    moved = ws.put_back(name)
    text = f"Moved {plural(len(moved), 'file')} back." if moved else "There is nothing to move back."
    return said(text, {"moved": [str(path) for path in moved]})


def _set_aside(place: Place, name: str | None, yes: bool) -> Answer:
    ws = place.workspace
    left, elsewhere = ws.left_behind(name), _elsewhere(ws, name)
    rows = [row for row in left if not row.busy]
    facts = {"left": [row.as_dict() for row in left], "moved": [], "elsewhere": elsewhere}
    notes = [Note.warning(elsewhere_text(elsewhere))] if elsewhere else []
    notes += [Note.warning(f"not looked into: {row.busy}") for row in left if row.busy]
    if not rows:
        return said("No output is left of a source that is gone.", facts, notes=tuple(notes))
    columns = ("Flow", Column("Output", "text"), "Written", Column("Source, which is gone", "text"))
    lines = (
        (
            row.flow,
            path_in(ws.root, row.path) + (f":{row.table} ({plural(row.rows, 'row')})" if row.table else ""),
            local_time(row.at_utc),
            "" if row.source is None else path_in(ws.root, row.source),
        )
        for row in rows
    )
    shown: tuple[Part, ...] = (table(columns, lines),)
    again = cli_line("tidy", *([] if name is None else [name]))
    readers = _readers(ws, rows)
    if not yes:
        question = Card(f"Move {_what(rows)} aside?", (), (*shown, *readers))
        if place.reader == "person":
            yes, shown, readers = place.confirm(question, "they would be moved aside", yes=False), (), []
        if not yes:
            notes += readers
            how = "" if place.reader == "person" else f" To move them aside: {again} --yes"
            notes.append(Note.warning(f"Nothing was moved.{how}"))
            return Answer(lambda: Card("", (), shown), lambda: facts, tuple(notes))
    moved = ws.set_aside(name)
    what = _what(rows) if len(moved) == len(rows) else plural(len(moved), "file")
    text = f"Moved {what} aside. To have them back: {again} --back"
    notes += readers
    facts["moved"] = [str(path) for path in moved]
    return Answer(lambda: Card("", (), (*shown, Lines((text,)))), lambda: facts, tuple(notes))


def _readers(ws: Workspace, rows: Sequence[LeftBehind]) -> list[Note]:
    """A note for each deployed flow that reads where the outputs lie."""
    return [
        Note.warning(f"{reader} reads there, but does not become due; to run it again: {cli_line('run', reader)}")
        for reader in readers_of({Path(row.mirror) for row in rows if not row.table}, deployed_flows(ws.home))
    ]


def _what(rows: Sequence[LeftBehind]) -> str:
    """How many files, and the rows of how many, are listed."""
    files, of_tables = sum(not row.table for row in rows), sum(bool(row.table) for row in rows)
    words = [plural(files, "file")] if files else []
    return " and ".join([*words, *([f"the rows of {plural(of_tables, 'file')}"] if of_tables else [])])


def _elsewhere(ws: Workspace, name: str | None) -> list[str]:
    """The outputs that are known only by a former path."""
    flows = [flow for flow in ws.flows() if name is None or flow.name == name]
    return [file.path for file in known_elsewhere(written_here(ws.home.ledger(), ws.layout, MOST_RUNS), flows)]


def elsewhere_text(paths: Sequence[str]) -> str:
    """The sentence about outputs that are known only by a former path.

    Example:
        >>> elsewhere_text(["/old/a.csv"])
        '1 output is known only by its former path, whose folder does not exist any more, and is not listed: /old/a.csv'
    """
    words = "is known only by its former path" if len(paths) == 1 else "are known only by their former paths"
    listed = "is not listed" if len(paths) == 1 else "are not listed"
    return f"{plural(len(paths), 'output')} {words}, whose folder does not exist any more, and {listed}: {first_few(paths, 3)}"
