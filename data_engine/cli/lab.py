"""`lab`: JupyterLab on the workspace."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from data_engine.cli.options import chosen_workspace, command_group
from data_engine.platforms.host import shell_line
from data_engine.platforms.processes import become
from data_engine.workspace.layout import WorkspaceLayout


def make_app() -> typer.Typer:
    """The command, which passes on what it does not know."""
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
    """What to type to open the workspace at `root` from the working directory, as a shell takes it."""
    return command_hint(root, "lab")


def command_hint(root: Path, *command: str) -> str:
    """What to type for a command about the workspace at `root`, from the working directory, as a shell takes it."""
    return shell_line([_program(), "--workspace", _near(root), *command])


def _program() -> str:
    """`data-engine`, or the path it was called by when the shell would not find it by its name."""
    import shutil

    called = Path(sys.argv[0])
    is_ours = called.stem == "data-engine" and called.is_file()
    found = shutil.which("data-engine")
    if not is_ours or (found is not None and os.path.samefile(found, called)):
        return "data-engine"
    return _near(called)


def _near(path: Path) -> str:
    near = os.path.relpath(path)
    return os.path.abspath(path) if near.startswith(os.pardir) else near


def _first_notebook(folder: Path) -> str | None:
    from urllib.parse import quote

    names = sorted(name for name in os.listdir(folder) if name.endswith(".ipynb") and not name.startswith((".", "_")))
    return quote(names[0]) if names else None
