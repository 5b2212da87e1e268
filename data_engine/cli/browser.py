"""`demo`, `lab`, `panel` and `docs`: a workspace with real data, JupyterLab, the panel as a page, and the documentation."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_engine.cli.options import AsJson, chosen_workspace, command_group, done, in_flow_modules, load_module
from data_engine.cli.output import Failed, complain, print_json, say, say_card
from data_engine.errors import FlowValidationError
from data_engine.formatting import duration_text, plural
from data_engine.model import Event, StepFinished
from data_engine.platforms.host import shell_line
from data_engine.platforms.processes import become
from data_engine.view.card import Card, Column, Lines, Section, table
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.select import named_workspace

if TYPE_CHECKING:
    from data_engine.client import Workspace


_LOOPBACK = "127.0.0.1"


def lab_app() -> typer.Typer:
    """The command `lab`, which passes unknown options on."""
    app = command_group("")
    app.command("lab", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(lab)
    return app


def lab(ctx: typer.Context) -> int:
    """Open JupyterLab on the workspace. Further options go to JupyterLab, such as `--no-browser --port 8899`."""
    layout = chosen_workspace(ctx).layout
    command = lab_command(layout, ctx.args)
    return become(command, os.environ | {"DATA_ENGINE_WORKSPACE_ROOT": str(layout.root)})


def lab_command(layout: WorkspaceLayout, extra: Sequence[str] = ()) -> list[str]:
    """The command that starts JupyterLab with the workspace as its files and the first notebook open."""
    first = _first_notebook(layout.flow_modules_dir)
    page = f"/lab/tree/flow_modules/{first}" if first else "/lab/tree/flow_modules"
    return [
        sys.executable,
        "-m",
        "jupyter",
        "lab",
        f"--ServerApp.root_dir={layout.root}",
        f"--LabApp.default_url={page}",
        *extra,
    ]


def lab_hint(root: Path) -> str:
    """The shell command that opens the workspace at `root` from the working directory."""
    return command_hint(root, "lab")


def command_hint(root: Path, *command: str) -> str:
    """The shell command for the workspace at `root` from the working directory."""
    return shell_line([_program(), "--workspace", _near(root), *command])


def _program() -> str:
    """`data-engine`, or the path of this call where the shell would not find it by its name."""
    import shutil

    script = Path(sys.argv[0])
    is_ours = script.stem == "data-engine" and script.is_file()
    program = shutil.which("data-engine")
    if not is_ours or (program is not None and os.path.samefile(program, script)):
        return "data-engine"
    return _near(script)


def _near(path: Path) -> str:
    near = os.path.relpath(path)
    return os.path.abspath(path) if near.startswith(os.pardir) else near


def _first_notebook(folder: Path) -> str | None:
    from urllib.parse import quote

    names = sorted(name for name in os.listdir(folder) if name.endswith(".ipynb") and not name.startswith((".", "_")))
    return quote(names[0]) if names else None


def panel(
    ctx: typer.Context,
    workspace: Annotated[
        str | None, typer.Argument(metavar="WORKSPACE", help="Its path or id; without it, the one you are in.")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser, or only print the address.")
    ] = True,
    port: Annotated[
        int | None, typer.Option("--port", min=1, max=65535, help="Default: a free port from 8888 on.")
    ] = None,
    ip: Annotated[
        str, typer.Option("--ip", help="Where it listens; by default only this machine reaches it.")
    ] = _LOOPBACK,
) -> int:
    """Show the panel in the browser, without JupyterLab. Ctrl-C ends the page; the daemon and its runs go on."""
    if workspace is not None and ctx.find_root().params.get("workspace") is not None:
        what = "two workspaces are named"
        raise FlowValidationError(what, where="data-engine panel", fix="name one: data-engine panel WORKSPACE")
    layout = chosen_workspace(ctx).layout if workspace is None else named_workspace(workspace)
    environment = os.environ | {"DATA_ENGINE_WORKSPACE_ROOT": str(layout.root)}
    return become(panel_command(layout, opens=browser, port=port, ip=ip), environment)


def panel_command(layout: WorkspaceLayout, *, opens: bool, port: int | None, ip: str) -> list[str]:
    """The command that serves the panel's page of a workspace.

    Its options win over this person's Jupyter settings: a server that others reach does not make such a panel.
    """
    return [
        sys.executable,
        "-m",
        "jupyter_extension.panel_server",
        f"--ServerApp.root_dir={layout.root}",
        f"--ServerApp.ip={ip}",
        f"--ServerApp.open_browser={opens}",
        "--ServerApp.default_url=/data-engine/panel",
        "--ServerApp.allow_unauthenticated_access=False",
        "--ServerApp.answer_yes=True",  # Ctrl-C asks nothing: it ends a page, and no work
        "--ServerApp.allow_root=True",  # who runs a daemon as root may look at it
        "--ServerApp.log_level=WARN",
        *([] if port is None else [f"--ServerApp.port={port}", "--ServerApp.port_retries=0"]),
    ]


def docs(
    is_open: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    as_json: AsJson = False,
) -> int:
    """Where the documentation is: pages that need no network. From a source checkout it builds them (about ten seconds)."""
    from data_engine.docs import site

    first = site.make(lambda: complain("Building the documentation (about ten seconds) ...")) / site.FIRST
    if is_open:
        import webbrowser

        webbrowser.open(first.as_uri())
    return done({"page": str(first)}, first.as_uri(), as_json)


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
    with in_flow_modules(ws):
        done = [_run(ws, name) for name in FLOWS]
    if as_json:
        hint = lab_hint(ws.root)
        print_json({"workspace_root": ws.root, "flows": done, "open_with": hint})
    else:
        say_card(_done_card(done, ws.root))
    return 0


def _run(ws: Workspace, name: str) -> dict[str, Any]:
    """Run one of the demo's flows; its facts, and for each step the rows that came out (None where none were counted), seconds and files."""
    from data_engine.runs import run_once

    flow = load_module(ws, name).flow
    ended: list[list[StepFinished]] = [[] for _ in flow.steps]

    def listen(event: Event) -> None:
        if isinstance(event, StepFinished):
            ended[event.step_index].append(event)

    started_s = time.perf_counter()
    try:
        contexts = run_once(flow, listen=listen)
    except FlowValidationError as error:
        raise Failed(error) from error
    elapsed_s = time.perf_counter() - started_s
    steps = [_step(step.label, events) for step, events in zip(flow.steps, ended, strict=True)]
    return {"flow": name, "title": flow.title, "sources": len(contexts), "elapsed_s": elapsed_s, "steps": steps}


def _step(label: str, events: Sequence[StepFinished]) -> dict[str, Any]:
    outputs = list(dict.fromkeys(path for event in events for path in event.outputs))
    counted = [event.rows_out for event in events if event.rows_out is not None]
    elapsed_s = sum(event.elapsed_s for event in events)
    return {"label": label, "rows": sum(counted) if counted else None, "elapsed_s": elapsed_s, "outputs": outputs}


def _done_card(done: Sequence[dict[str, Any]], root: Path) -> Card:
    sections = [
        Section(
            f"{run['title']} ({plural(run['sources'], 'run')}, {duration_text(run['elapsed_s'])})",
            (
                table(
                    ("STEP", Column("ROWS", "number"), Column("TIME", "number"), "OUTPUT"),
                    [_row(step, root) for step in run["steps"]],
                ),
            ),
        )
        for run in done
    ]
    opened = Section("Open it in JupyterLab:", (Lines((lab_hint(root),)),))
    by_itself = Section(
        "The flows ran here, once; nothing runs by itself. To let them run by themselves, deploy them and start the engine:",
        (Lines((command_hint(root, "deploy"), command_hint(root, "start"))),),
    )
    return Card("", (), (*sections, opened, by_itself))


def _row(step: dict[str, Any], root: Path) -> tuple[str, str, str, str]:
    rows = "" if step["rows"] is None else f"{step['rows']:,}"
    return step["label"], rows, duration_text(step["elapsed_s"]), _where(step["outputs"], root)


def _where(outputs: Sequence[str], root: Path) -> str:
    """The path of a single file, else the number of files and their folders."""
    inside = [Path(path).relative_to(root) for path in outputs]
    if len(inside) == 1:
        return inside[0].as_posix()
    folders = dict.fromkeys(path.parent.as_posix() + "/" for path in inside)
    return f"{len(inside)} files in {', '.join(folders)}" if inside else ""
