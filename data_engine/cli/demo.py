"""`demo`: a workspace with real data, its three flows run before your eyes."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.lab import lab_hint
from data_engine.cli.options import AsJson, in_flow_modules, load_module
from data_engine.cli.outcome import Failed
from data_engine.cli.output import print_json, say, seconds, table
from data_engine.errors import FlowValidationError
from data_engine.model import Event, StepFinished

if TYPE_CHECKING:
    from data_engine.client import Workspace
    from data_engine.flow.context import FlowContext


@dataclass(frozen=True, slots=True)
class DemoRun:
    """What one of the demo's flows did; `rows` of its last frames, None when there was none to count."""

    flow: str
    title: str
    sources: int
    rows: int | None
    elapsed_s: float
    outputs: tuple[str, ...]


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
    done: list[DemoRun] = []
    with in_flow_modules(ws):
        for name in FLOWS:
            done.append(_run(ws, name))
    if as_json:
        hint = lab_hint(ws.root)
        print_json({"workspace_root": ws.root, "flows": [asdict(run) for run in done], "open_with": hint})
    else:
        _say_done(done, ws.root)
    return 0


def _run(ws: Workspace, name: str) -> DemoRun:
    from data_engine.client import run_once

    flow = load_module(ws, name).flow
    outputs: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished):
            outputs.extend(event.outputs)

    started_s = time.perf_counter()
    try:
        contexts = run_once(flow, listen=listen)
    except FlowValidationError as error:
        raise Failed(error) from error
    elapsed_s = time.perf_counter() - started_s
    counted = [rows for context in contexts if (rows := last_rows(context)) is not None]
    made = tuple(dict.fromkeys(outputs))
    return DemoRun(name, flow.title, len(contexts), sum(counted) if counted else None, elapsed_s, made)


def last_rows(context: FlowContext) -> int | None:
    """The rows of the run's last frame: of its result, of a Parquet file that is its result, or of a saved object."""
    for value in (context.current, *reversed(context.objects.values())):
        for item in value if isinstance(value, (list, tuple)) else [value]:
            rows = _rows(item)
            if rows is not None:
                return rows
    return None


def _rows(value: object) -> int | None:
    polars: Any = sys.modules.get("polars")
    if polars is None:
        return None
    if isinstance(value, polars.DataFrame):
        return int(value.height)
    if isinstance(value, Path) and value.suffix == ".parquet":
        return int(polars.scan_parquet(value).select(polars.len()).collect().item())
    return None


def _say_done(done: Sequence[DemoRun], root: Path) -> None:
    shown = table("FLOW", "SOURCES", "ROWS", "TIME", "OUTPUT", right=("SOURCES", "ROWS", "TIME"))
    for run in done:
        rows = "" if run.rows is None else f"{run.rows:,}"
        shown.add_row(run.title, str(run.sources), rows, seconds(run.elapsed_s), _where(run.outputs, root))
    say(shown)
    say("")
    say("Open it in JupyterLab:")
    say(f"  {lab_hint(root)}", style="bold")


def _where(outputs: Iterable[str], root: Path) -> str:
    """The files when they are few, else their folder."""
    inside = [Path(path) for path in outputs if Path(path).is_relative_to(root / "output")]
    if len(inside) == 1:
        return inside[0].relative_to(root).as_posix()
    folders = dict.fromkeys(path.parent.relative_to(root).as_posix() + "/" for path in inside)
    return ", ".join(folders)
