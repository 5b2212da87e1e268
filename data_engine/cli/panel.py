"""`panel`: the control panel as a page in the browser, without JupyterLab around it."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from data_engine.cli.options import chosen_workspace
from data_engine.errors import FlowValidationError
from data_engine.platforms.processes import become
from data_engine.workspace.layout import WorkspaceLayout
from data_engine.workspace.select import named_workspace

_LOOPBACK = "127.0.0.1"


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

    What it names goes before this person's Jupyter settings, so that a server of theirs that others reach makes no such panel.
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
