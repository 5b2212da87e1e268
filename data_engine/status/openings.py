"""How to open the replay of a failed run in its notebook; no code of the author's is run for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace

from data_engine.engine.kept_inputs import kept_facts
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.formatting import cli_line, magic_line
from data_engine.model import Run, StepRun
from data_engine.notebook.compile import compile_notebook
from data_engine.notebook.read import read_cells
from data_engine.platforms.files import content_of
from data_engine.record import Record, frozen


@frozen
class Opening(Record):
    """How to open the replay of a run in its notebook; no code of the author's is run for it.

    `kept` names what of the inputs of the `step` is kept here, `missing` says why others are not, `locals` are the author's variables at
    the failing line. `notebook` is the file in flow_modules, None for a `.py`; `cell` the id of the cell that failed, `needs` the numbers and
    ids of the cells that the flow is made of, which must have run; `text` is the cell to add.
    """

    run_id: str
    flow: str
    step: str
    kept: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    locals: Mapping[str, str] = field(default_factory=dict)
    notebook: str | None = None
    cell: str | None = None
    needs: tuple[tuple[int, str], ...] = ()
    text: str = ""


def opening_of(home: LocalWorkspace, run: Run) -> Opening:
    """How to open the replay of the run.

    Raises:
        FlowValidationError: none of its steps failed.
    """
    step = failing_step(home, run)
    kept = kept_facts(home.local.replays_dir, run.run_id)
    text = f"{magic_line('replay', run.run_id[:8])}\n{kept.call}"
    opening = Opening(run.run_id, run.flow, step.label, kept.kept, kept.missing, kept.locals, text=text)
    path = home.layout.flow_modules_dir / f"{run.flow}.ipynb"
    try:
        cells, compiled = read_cells(content_of(path), path=path), compile_notebook(path)
    except (OSError, FlowValidationError):  # a .py, or a notebook that is being worked on
        return opening
    taken = {cell.number for cell in compiled.cells if any(statement.taken for statement in cell.statements)}
    places = () if run.why is None else run.why.data.get("places") or ()
    numbers = [place["cell"] for place in places if place["notebook"] == path.name]
    ids = {cell.number: cell.id for cell in cells}
    needs = tuple((number, ids[number]) for number in sorted(taken & ids.keys()))
    return replace(opening, notebook=path.name, cell=ids.get(next(iter(numbers), 0)), needs=needs)


def failing_step(home: LocalWorkspace, run: Run) -> StepRun:
    """The step of the run that has failed.

    Raises:
        FlowValidationError: there is none.
    """
    steps = home.ledger().steps(run.run_id)
    if run.status in ("failed", "killed", "abandoned") and steps and steps[-1].status != "success":
        return steps[-1]
    fix = f"name a run that failed: {cli_line('runs', '--status', 'failed')}"
    what = f"run {run.run_id[:8]} of {run.flow} has no step that failed: it is {run.status}"
    raise FlowValidationError(what, where=cli_line("replay", run.run_id[:8]), fix=fix)
