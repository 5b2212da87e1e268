"""`demo`: a workspace with real data, its three flows run before your eyes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from data_engine.cli.browser import command_hint, lab_hint
from data_engine.cli.failure import Failed
from data_engine.cli.options import AsJson, in_flow_modules, load_module
from data_engine.cli.output import print_json, say, table
from data_engine.errors import FlowValidationError
from data_engine.formatting import duration_words, plural
from data_engine.model import Event, StepFinished
from data_engine.record import frozen

if TYPE_CHECKING:
    from data_engine.client import Workspace


@frozen
class DemoStep:
    """What one step did over all sources: the `rows` that came out (None where none were counted), seconds and files."""

    label: str
    rows: int | None
    elapsed_s: float
    outputs: tuple[str, ...]


@frozen
class DemoRun:
    """What one of the demo's flows did."""

    flow: str
    title: str
    sources: int
    elapsed_s: float
    steps: tuple[DemoStep, ...]


def demo(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Where to put the workspace.")] = "data-engine-demo",
    as_json: AsJson = False,
) -> int:
    """Make a workspace with real data and run it. Whatever is in the folder already stays as it is."""
    from data_engine.client import Workspace
    from data_engine.demo.content import FLOWS, lay_out
    from data_engine.workspace.provision import provision_workspace

    root = provision_workspace(path, example=False).root
    lay_out(root)
    ws = Workspace(root)
    if not as_json:
        say(f"Demo workspace: {ws.root}")
        say("")
    with in_flow_modules(ws):
        done = [_run(ws, name) for name in FLOWS]
    if as_json:
        hint = lab_hint(ws.root)
        print_json({"workspace_root": ws.root, "flows": [asdict(run) for run in done], "open_with": hint})
    else:
        _say_done(done, ws.root)
    return 0


def _run(ws: Workspace, name: str) -> DemoRun:
    from data_engine.runs import run_once

    flow = load_module(ws, name).flow
    ended: dict[int, list[StepFinished]] = {}

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished):
            ended.setdefault(event.step_index, []).append(event)

    started_s = time.perf_counter()
    try:
        contexts = run_once(flow, listen=listen)
    except FlowValidationError as error:
        raise Failed(error) from error
    elapsed_s = time.perf_counter() - started_s
    steps = tuple(_step(step.label, ended.get(index, [])) for index, step in enumerate(flow.steps))
    return DemoRun(name, flow.title, len(contexts), elapsed_s, steps)


def _step(label: str, events: Sequence[StepFinished]) -> DemoStep:
    outputs = tuple(dict.fromkeys(path for event in events for path in event.outputs))
    counted = [event.rows_out for event in events if event.rows_out is not None]
    return DemoStep(label, sum(counted) if counted else None, sum(event.elapsed_s for event in events), outputs)


def _say_done(done: Sequence[DemoRun], root: Path) -> None:
    for run in done:
        say(f"{run.title} ({plural(run.sources, 'run')}, {duration_words(run.elapsed_s)})", style="bold")
        shown = table("STEP", "ROWS", "TIME", "OUTPUT", right=("ROWS", "TIME"))
        for step in run.steps:
            rows = "" if step.rows is None else f"{step.rows:,}"
            shown.add_row(step.label, rows, duration_words(step.elapsed_s), _where(step.outputs, root))
        say(shown)
        say("")
    say("Open it in JupyterLab:")
    say(f"  {lab_hint(root)}", style="bold")
    say("")
    say(
        "The flows ran here, once; nothing runs by itself. To let them run by themselves, deploy them and start the engine:"
    )
    say(f"  {command_hint(root, 'deploy')}", style="bold")
    say(f"  {command_hint(root, 'start')}", style="bold")


def _where(outputs: Sequence[str], root: Path) -> str:
    """The file when it is one, else their number and folder."""
    inside = [Path(path).relative_to(root) for path in outputs]
    if len(inside) == 1:
        return inside[0].as_posix()
    folders = dict.fromkeys(path.parent.as_posix() + "/" for path in inside)
    return f"{len(inside)} files in {', '.join(folders)}" if inside else ""
