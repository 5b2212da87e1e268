"""Replays: the failing step of a run with what it was given, and how to open it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from data_engine.formatting import cli_line, first_few, magic_line
from data_engine.marks import Mark
from data_engine.model import Run
from data_engine.status.openings import Opening, opening_of
from data_engine.view.card import Card, Cell, Code, Column, Lines, Note, Part, table
from data_engine.view.runs import VARIABLES, RunId
from data_engine.view.verb import Answer, Place

if TYPE_CHECKING:
    from data_engine.replay import Replay

_MOST = 100


def replay(place: Place, run_id: RunId) -> Answer:
    """Open the failing step of a run with what it was given.

    In a cell `replay` and `context` are there afterwards: `context` is what the step was given. In a terminal it is said what is kept, and
    how to open it.
    """
    ws = place.workspace
    ws.home.ledger().recover()
    run = ws.run_record(run_id)
    names = place.names
    if not isinstance(names, dict):
        opening = opening_of(ws.home, run)
        return Answer(lambda: opening_card(opening, run), opening.as_dict, value=opening)
    value = ws.replay(run.run_id)
    names.update(replay=value, context=value.context)
    return Answer(lambda: replay_card(value), lambda: opening_of(ws.home, run).as_dict(), value=value)


def replay_card(replay: Replay) -> Card:
    """An open replay: the error, what was made again or is otherwise here, and how to go on."""
    facts: tuple[Cell, ...] = (Code(replay.run_id[:8], replay.run_id), Mark("failed", "bad", "cross"))
    note = Note(Mark(f"{replay.call} calls the step as the run did; replay.run() goes on to the end, in scratch."))
    parts = _parts(replay.error, replay.missing, replay.locals)
    return Card(f"{replay.flow_name}: step {replay.step.label}", facts, (*parts, note))


def opening_card(opening: Opening, run: Run) -> Card:
    """What a run has kept, and how to open it."""
    kept = f"Kept are {first_few(opening.kept, 5)}; all else is made again by the steps before."
    parts = [
        Note(Mark(kept if opening.kept else "Nothing of the inputs is kept here: the steps before make them again."))
    ]
    where = opening.notebook or "a notebook of the workspace"
    fix = f"`{cli_line('lab')}` opens JupyterLab; in a cell of {where}: {magic_line('replay', opening.run_id[:8])}"
    if opening.needs:
        fix += f", when cells {', '.join(str(number) for number, _ in opening.needs)} have run"
    end = Note(Mark(f"To open it: {fix}"))
    facts: tuple[Cell, ...] = (Code(opening.run_id[:8], opening.run_id), Mark(run.status, "bad", "cross"))
    return Card(
        f"{opening.flow}: step {opening.step}",
        facts,
        (*_parts(run.error or "", opening.missing, opening.locals), *parts, end),
    )


def _parts(error: str, missing: Mapping[str, str], texts: Mapping[str, str]) -> list[Part]:
    parts: list[Part] = [Lines(tuple(error.splitlines()))] if error else []
    if missing:
        rows = [(Code(name), why) for name, why in missing.items()]
        parts.append(table(("Not kept", Column("Why", "text")), rows, most=_MOST))
    if texts:
        parts.append(Lines(tuple(f"{name} = {text}" for name, text in texts.items()), VARIABLES))
    return parts
