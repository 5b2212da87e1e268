"""Make a workspace, or add what one lacks; what exists stays byte for byte."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from data_engine.argument_checks import is_text, value_text
from data_engine.errors import WorkspaceError
from data_engine.files import create_exclusive
from data_engine.platforms.names import is_too_long, with_home
from data_engine.record import frozen
from data_engine.workspace.layout import FLOW_MODULES, WorkspaceLayout, is_workspace
from data_engine.workspace.select import check_workspace_id, lies_in_collection
from data_engine.workspace.settings import DEFAULT_SETTINGS_TEXT

GITIGNORE_TEXT = """\
# What Data Engine and Jupyter keep for themselves.
.workspace_state/
.ipynb_checkpoints/
__pycache__/
# What flows write. Add the folders of your inputs and outputs.
databases/
.data_engine_staging/
# What goldens hold of the data; their headers are for review.
goldens/**/data/
"""

_HELPERS_TEXT = '"""Code shared by the flows of this workspace: `from flow_helpers.dates import month_end`."""\n'

_EXAMPLE, _EXAMPLES = "example.ipynb", "Examples"
_EXAMPLE_CELLS: tuple[tuple[str, str, str], ...] = (
    (
        "markdown",
        "about",
        "# A first flow\n"
        "\n"
        "`build()` says what runs; what `build()` needs goes to production; all other cells only look. The name of this\n"
        "notebook is the flow's: rename it, change it, or delete it.",
    ),
    (
        "code",
        "steps",
        "import polars as pl\n"
        "\n"
        "from data_engine import Flow\n"
        "\n"
        'DESCRIPTION = "Totals by product, from a small table made here"\n'
        "\n"
        "\n"
        "def make_sales(context):\n"
        '    return pl.DataFrame({"product": ["tea", "coffee", "tea"], "amount": [3.0, 4.5, 2.5]})\n'
        "\n"
        "\n"
        "def add_up(context):\n"
        '    return context.current.group_by("product").agg(pl.col("amount").sum()).sort("product")',
    ),
    (
        "code",
        "build",
        "def build():\n"
        "    return (\n"
        '        Flow(group="Examples")\n'
        '        .watch(mode="manual")\n'
        '        .step(make_sales, save_as="sales")\n'
        '        # .check({"positive": "amount > 0"}, on_fail="quarantine")  # bad rows go to rejected/ and not on\n'
        '        .step(add_up, use="sales", save_as="totals")\n'
        "    )",
    ),
    ("code", "preview", 'build().preview(use="totals")'),
    (
        "markdown",
        "deploy",
        "A preview changes nothing in production, and neither does saving. When it looks right, `%flow deploy` lets\n"
        "production run it as it is saved; `%flow rollback` undoes that. `%flow start` lets deployed flows run by themselves.\n"
        "(`%load_ext data_engine` gives `%flow`; the panel in the right side bar and `data-engine deploy` have the same.)",
    ),
)


@frozen
class Provisioned:
    """The paths that were made and those that were there, both in the order of the tree; `skipped` could not be made and is not
    needed: editor settings beside a workspace whose parent folder is read-only.
    """

    root: Path
    created: tuple[Path, ...]
    preserved: tuple[Path, ...]
    skipped: tuple[Path, ...] = ()


def provision_workspace(root: str | os.PathLike[str], *, example: bool = True) -> Provisioned:
    """A workspace at `root`, with what it lacked added: folders, settings, `.gitignore`, VS Code settings here and in
    the parent folder, and one example notebook (with `example`, when no module is there).

    Nothing that exists is changed. When something is in the way, nothing is made; when making fails half-way, what
    this call made is taken away again.

    Raises:
        WorkspaceError: a file where a folder belongs or the reverse, or a folder that cannot be written.
        InvalidWorkspaceIdError: the folder's name cannot be a workspace's id.

    Example:
        >>> import tempfile
        >>> made = provision_workspace(Path(tempfile.mkdtemp()) / "claims")
        >>> sorted(path.name for path in (made.root / "flow_modules").iterdir())
        ['example.ipynb', 'flow_helpers']
        >>> provision_workspace(made.root).created
        ()
    """
    text = os.fspath(root)
    if not text.strip() or not is_text(text) or is_too_long(text):
        raise WorkspaceError(f"{value_text(text)} is not a path", where="workspace create", fix="give a folder's path")
    layout = WorkspaceLayout(Path(os.path.abspath(with_home(text))))
    check_workspace_id(layout.workspace_id)
    contents, optional = _contents(layout, example=example), _optional(layout)
    for path, content in contents.items():
        _refuse_in_the_way(path, is_folder=content is None)
    inside = next((path for path in (layout.root, *layout.root.parents) if path.name == FLOW_MODULES), None)
    if inside is not None and is_workspace(inside.parent):
        raise WorkspaceError(
            f"{layout.root} is in the flow_modules folder of the workspace {inside.parent}",
            where=str(layout.root),
            fix=f"name the workspace itself, {inside.parent}, or a folder outside it",
        )

    created: list[Path] = []
    preserved: list[Path] = []
    skipped: list[Path] = []
    try:
        for path, content in contents.items():
            if os.path.isdir(path) if content is None else os.path.isfile(path):
                preserved.append(path)
            elif path in optional:
                skipped.append(path)
            elif content is None:
                path.mkdir()
                created.append(path)
            else:
                (created if create_exclusive(path, content) else preserved).append(path)
    except OSError as error:
        for path in reversed(created):
            with suppress(OSError):
                path.rmdir() if os.path.isdir(path) else path.unlink()
        raise WorkspaceError(
            f"the workspace cannot be made: {error}",
            where=str(layout.root),
            fix="choose a folder you may write to, with room on its drive",
        ) from error
    return Provisioned(layout.root, tuple(created), tuple(preserved), tuple(skipped))


def example_notebook(group: str = _EXAMPLES) -> str:
    """A notebook that is a flow of this group which runs, as text (nbformat 4.5)."""
    return notebook_text((kind, cell_id, source.replace(_EXAMPLES, group)) for kind, cell_id, source in _EXAMPLE_CELLS)


def _contents(layout: WorkspaceLayout, *, example: bool) -> dict[Path, str | None]:
    """The folders (without a text) and the files of a workspace, in the order in which they are made."""
    outer, has_outer = _outer_settings(layout), lies_in_collection(layout.root)
    missing_parents = [folder for folder in layout.root.parents if not os.path.isdir(folder)]
    folders = [
        *reversed(missing_parents),
        layout.root,
        layout.flow_modules_dir,
        layout.flow_helpers_dir,
        layout.config_dir,
        layout.databases_dir,
        layout.vscode_settings_path.parent,
        *((outer.parent,) if has_outer else ()),
    ]
    contents: dict[Path, str | None] = {
        **dict.fromkeys(folders),
        layout.gitignore_path: GITIGNORE_TEXT,
        layout.settings_path: DEFAULT_SETTINGS_TEXT,
        layout.flow_helpers_dir / "__init__.py": _HELPERS_TEXT,
        layout.vscode_settings_path: _vscode_settings(layout),
    }
    if has_outer:
        environment = {"DATA_ENGINE_WORKSPACE_COLLECTION_ROOT": "${workspaceFolder}"}
        contents[outer] = _json(_editor_settings(layout.root.parent, "**/.workspace_state", environment))
    if example and not _has_module(layout):
        contents[layout.flow_modules_dir / _EXAMPLE] = example_notebook()
    return contents


def _outer_settings(layout: WorkspaceLayout) -> Path:
    return layout.root.parent / ".vscode" / "settings.json"


def _optional(layout: WorkspaceLayout) -> tuple[Path, ...]:
    # A workspace folder of one's own in an administrator's read-only folder is usual on a share.
    outer = _outer_settings(layout)
    if not os.path.isdir(layout.root):
        return ()
    if os.path.isdir(outer.parent):
        return () if os.access(outer.parent, os.W_OK) else (outer,)
    return () if os.access(layout.root.parent, os.W_OK) else (outer.parent, outer)


def _has_module(layout: WorkspaceLayout) -> bool:
    try:
        names = os.listdir(layout.flow_modules_dir)
    except OSError:
        return False
    return any(name.endswith((".ipynb", ".py")) for name in names)


def _refuse_in_the_way(path: Path, *, is_folder: bool) -> None:
    if not os.path.lexists(path) or (os.path.isdir(path) if is_folder else os.path.isfile(path)):
        return
    kind = "a link to nothing" if not os.path.exists(path) else "a folder" if os.path.isdir(path) else "a file"
    raise WorkspaceError(
        f"{path} is {kind}, where a {'folder' if is_folder else 'file'} belongs",
        where=str(path),
        fix="move it away or choose another folder; nothing was made",
    )


def _vscode_settings(layout: WorkspaceLayout) -> str:
    # ${workspaceFolder}: on a colleague's machine the share is mounted elsewhere.
    environment = {
        "DATA_ENGINE_WORKSPACE_ROOT": "${workspaceFolder}",
        "DATA_ENGINE_WORKSPACE_ID": layout.workspace_id,
    }
    settings = _editor_settings(layout.root, ".workspace_state", environment)
    return _json(settings | {"python.analysis.extraPaths": ["${workspaceFolder}/flow_modules"]})


def _editor_settings(root: Path, hidden: str, environment: dict[str, str]) -> dict[str, Any]:
    interpreter = _interpreter_below(root)
    return {
        **({} if interpreter is None else {"python.defaultInterpreterPath": interpreter}),
        "files.exclude": {hidden: True},
        "search.exclude": {hidden: True},
        **{f"terminal.integrated.env.{system}": environment for system in ("linux", "osx", "windows")},
    }


def _interpreter_below(root: Path) -> str | None:
    """This Python as every machine that opens the folder finds it; None where it lies outside, where it is this machine's own."""
    python = Path(sys.executable)
    folder = Path(os.path.realpath(python.parent))
    try:
        inside = folder.relative_to(os.path.realpath(root)).as_posix()
    except ValueError:
        return None
    return f"${{workspaceFolder}}/{inside}/{python.name.replace('pythonw', 'python')}"


def _json(settings: dict[str, Any]) -> str:
    return json.dumps(settings, indent=2) + "\n"


def notebook_text(cells: Iterable[tuple[str, str, str]]) -> str:
    """A notebook (nbformat 4.5) of these cells: "code" or "markdown", an id, and the source of each.

    Example:
        >>> json.loads(notebook_text([("code", "one", "1 + 1")]))["cells"][0]["source"]
        ['1 + 1']
    """
    entries: list[dict[str, Any]] = []
    for kind, name, source in cells:
        cell: dict[str, Any] = {"cell_type": kind, "id": name, "metadata": {}}
        if kind == "code":
            cell = {"cell_type": kind, "execution_count": None, "id": name, "metadata": {}, "outputs": []}
        entries.append(cell | {"source": source.splitlines(keepends=True)})
    return _text({"cells": entries, "metadata": _of_this_python(), "nbformat": 4, "nbformat_minor": 5})


def for_this_python(text: str) -> str:
    """The notebook with the metadata that a kernel of this Python gives it.

    JupyterLab puts that in when it opens a notebook, which then counts as unsaved.

    Example:
        >>> shipped = '{"cells": [], "metadata": {"language_info": {"name": "python"}}, "nbformat": 4, "nbformat_minor": 5}'
        >>> json.loads(for_this_python(shipped))["metadata"]["language_info"]["version"] == platform.python_version()
        True
    """
    notebook = json.loads(text)
    return _text(notebook | {"metadata": notebook["metadata"] | _of_this_python()})


def _of_this_python() -> dict[str, Any]:
    return {
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {
            "codemirror_mode": {"name": "ipython", "version": 3},
            "file_extension": ".py",
            "mimetype": "text/x-python",
            "name": "python",
            "nbconvert_exporter": "python",
            "pygments_lexer": "ipython3",
            "version": platform.python_version(),
        },
    }


def _text(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
