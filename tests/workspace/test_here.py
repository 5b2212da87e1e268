from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from data_engine.workspace.layout import CurrentNotebook, authored_folder, current_notebook, notebook_here, renamed_file


class KernelShell:
    """What `current_notebook` asks of a kernel's shell."""

    kernel = object()

    def __init__(self, starting_dir: Path, **user_ns: Any) -> None:
        self.starting_dir = str(starting_dir)
        self.user_ns = user_ns


def enter(monkeypatch: pytest.MonkeyPatch, shell: object) -> None:
    ipython = types.ModuleType("IPython")
    ipython.get_ipython = lambda: shell  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "claims" / "flow_modules" / "daily.ipynb"
    path.parent.mkdir(parents=True)
    path.touch()
    return path


def test_outside_a_kernel_no_variable_makes_a_notebook(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker or a script inherits the kernel's environment and must not take itself for the notebook."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    monkeypatch.setenv("DATA_ENGINE_NOTEBOOK", str(notebook))

    assert current_notebook() is None
    assert authored_folder() is None


def test_the_terminals_ipython_is_no_kernel(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """IPython without a kernel has no notebook, whatever it inherited."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    enter(monkeypatch, types.SimpleNamespace(user_ns={}))

    assert current_notebook() is None


def test_a_kernel_finds_its_notebook_and_folder_wherever_it_has_gone(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's working directory does not matter: it may have changed since the start."""
    monkeypatch.setenv("JPY_SESSION_NAME", "daily.ipynb")
    enter(monkeypatch, KernelShell(notebook.parent))
    monkeypatch.chdir(tmp_path)

    assert current_notebook() == CurrentNotebook(notebook, "notebook")
    assert authored_folder() == notebook.parent


def test_a_renamed_notebook_is_said_and_its_folder_stays(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable goes stale at a rename; nothing is guessed where nothing tells."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    enter(monkeypatch, KernelShell(notebook.parent))
    notebook.rename(notebook.with_name("weekly.ipynb"))

    found = current_notebook()
    assert found is not None
    assert found.path == notebook
    assert found.problem == "this notebook is no longer there: it was renamed or moved since the kernel started"
    assert found.fix == "restart the kernel"
    assert found.was_here
    assert authored_folder() == notebook.parent


def with_cells(path: Path, *ids: str) -> Path:
    cells = [{"cell_type": "code", "id": one, "metadata": {}, "source": "1"} for one in ids]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}, indent=1))
    return path


def test_a_renamed_notebook_is_found_by_the_cell_that_runs(notebook: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And from then on also by what asks between cells, such as the panel."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    shell = KernelShell(notebook.parent)
    shell.get_parent = lambda: {"metadata": {"cellId": "c-2"}}  # type: ignore[attr-defined]
    enter(monkeypatch, shell)
    with_cells(notebook.with_name("other.ipynb"), "d-2")
    weekly = with_cells(notebook, "c-1", "c-2").rename(notebook.with_name("weekly.ipynb"))

    assert current_notebook() == CurrentNotebook(weekly, "notebook")
    shell.get_parent = lambda: {"metadata": {}}  # type: ignore[attr-defined]
    assert current_notebook() == CurrentNotebook(weekly, "notebook")

    monthly = weekly.rename(weekly.with_name("monthly.ipynb"))
    assert str(getattr(current_notebook(), "problem", None)).startswith("this notebook")
    shell.get_parent = lambda: {"metadata": {"cellId": "c-1"}}  # type: ignore[attr-defined]
    assert current_notebook() == CurrentNotebook(monthly, "notebook")


def test_a_renamed_notebook_with_a_copy_is_not_guessed(notebook: Path) -> None:
    """Both have the cell."""
    for name in ("weekly.ipynb", "weekly-Copy1.ipynb"):
        with_cells(notebook.with_name(name), "c-1")
    notebook.unlink()

    found = notebook_here({}, {"JPY_SESSION_NAME": str(notebook)}, str(notebook.parent), "c-1")

    assert found is not None
    assert found.problem is not None


def test_the_server_tells_of_a_rename(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of one to another folder, and also when another notebook has the old name now; not when what it tells is gone."""
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    shell = KernelShell(notebook.parent)
    shell.kernel = types.SimpleNamespace(  # type: ignore[misc]
        parent=types.SimpleNamespace(abs_connection_file=str(tmp_path / "kernel-8f2.json"))
    )
    enter(monkeypatch, shell)
    moved = tmp_path / "rates" / "flow_modules" / "weekly.ipynb"
    moved.parent.mkdir(parents=True)
    told = Path(renamed_file(str(tmp_path / "kernel-8f2.json")))
    assert current_notebook() == CurrentNotebook(notebook, "notebook")

    told.write_text(str(moved))
    assert current_notebook() == CurrentNotebook(notebook, "notebook")
    notebook.rename(moved)
    assert current_notebook() == CurrentNotebook(moved, "notebook")
    notebook.touch()
    assert current_notebook() == CurrentNotebook(moved, "notebook")
    told.write_text("weekly.ipynb")
    assert current_notebook() == CurrentNotebook(notebook, "notebook")


@pytest.mark.parametrize(
    "uri", ["vscode-notebook-cell:{path}#W0sZmlsZQ%3D%3D", "vscode-notebook-cell://wsl%2Bubuntu{path}#X10sdnNjb2Rl"]
)
def test_vs_code_tells_of_a_rename_with_each_cell(
    uri: str, notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its global keeps the name of the kernel's start; what it told with a cell holds between cells too."""
    moved = tmp_path / "rates 1" / "flow_modules" / "weekly.ipynb"
    moved.parent.mkdir(parents=True)
    notebook.rename(moved)
    shell = KernelShell(notebook.parent, __vsc_ipynb_file__=str(notebook))
    sent = {"cellId": uri.format(path=quote(("" if moved.as_posix().startswith("/") else "/") + moved.as_posix()))}
    shell.get_parent = lambda: {"metadata": sent}  # type: ignore[attr-defined]
    enter(monkeypatch, shell)

    assert current_notebook() == CurrentNotebook(moved, "notebook")
    del sent["cellId"]
    assert current_notebook() == CurrentNotebook(moved, "notebook")


def test_a_cell_that_vs_code_has_not_saved_moves_nothing(notebook: Path) -> None:
    """An untitled notebook, or one of another machine, is no file here."""
    sent = "vscode-notebook-cell:Untitled-1.ipynb#W0sdW50aXRsZWQ%3D"

    assert notebook_here({"__vsc_ipynb_file__": str(notebook)}, {}, "/", sent) == CurrentNotebook(notebook, "notebook")


@pytest.mark.parametrize(
    ("why", "session"),
    [
        ("absolute", "{folder}/daily.ipynb"),
        ("beside the kernel's start", "daily.ipynb"),
        ("below the server's root, which is two folders up", "claims/flow_modules/daily.ipynb"),
        ("below the server's root, which is one folder up", "flow_modules/daily.ipynb"),
    ],
)
def test_session_names_mean_the_same_notebook_when(why: str, session: str, notebook: Path) -> None:
    """Jupyter gives the path in several forms, depending on its version and on who started the kernel."""
    environ = {"JPY_SESSION_NAME": session.format(folder=notebook.parent)}

    assert notebook_here({}, environ, str(notebook.parent)) == CurrentNotebook(notebook, "notebook"), why


def test_a_relative_session_name_of_another_folder_is_a_problem_not_a_guess(notebook: Path) -> None:
    """`other/daily.ipynb` is not this folder's `daily.ipynb`, although the name is there."""
    found = notebook_here({}, {"JPY_SESSION_NAME": "other/daily.ipynb"}, str(notebook.parent))

    assert found is not None
    assert found.path == notebook.parent / "other" / "daily.ipynb"
    assert found.problem is not None


@pytest.mark.parametrize("session", ["", "console-1-8f2", "Console 1"])
def test_a_console_has_no_notebook(session: str, notebook: Path) -> None:
    """JupyterLab names consoles in the same variable."""
    assert notebook_here({}, {"JPY_SESSION_NAME": session}, str(notebook.parent)) is None


def test_our_variable_goes_before_vs_code_and_vs_code_before_jupyter(notebook: Path) -> None:
    """The fix a person was told must win; VS Code's own name is better than the one its server made up."""
    for name in ("ours.ipynb", "code.ipynb", "lab.ipynb"):
        notebook.with_name(name).touch()
    folder = str(notebook.parent)
    environ = {"JPY_SESSION_NAME": "lab.ipynb", "DATA_ENGINE_NOTEBOOK": "ours.ipynb"}
    user_ns = {"__vsc_ipynb_file__": f"{folder}/code.ipynb"}

    assert notebook_here(user_ns, environ, folder) == CurrentNotebook(notebook.with_name("ours.ipynb"), "notebook")
    del environ["DATA_ENGINE_NOTEBOOK"]
    assert notebook_here(user_ns, environ, folder) == CurrentNotebook(notebook.with_name("code.ipynb"), "notebook")
    assert notebook_here({}, environ, folder) == CurrentNotebook(notebook.with_name("lab.ipynb"), "notebook")


def test_our_variable_naming_nothing_is_said(notebook: Path) -> None:
    """A typing mistake in the variable must not fall back to another notebook."""
    environ = {"JPY_SESSION_NAME": str(notebook), "DATA_ENGINE_NOTEBOOK": "dialy.ipynb"}
    found = notebook_here({}, environ, str(notebook.parent))

    assert found is not None
    assert "DATA_ENGINE_NOTEBOOK names" in str(found.problem)


def test_a_notebook_outside_flow_modules_has_no_authored_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its relative paths count from the working directory."""
    notebook = tmp_path / "scratch.ipynb"
    notebook.touch()
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    enter(monkeypatch, KernelShell(tmp_path))

    assert current_notebook() == CurrentNotebook(notebook, "notebook")
    assert authored_folder() is None


SCRIPT = "from data_engine.workspace.layout import *; print(current_notebook(), authored_folder(), sep='|')"


def run_script(path: Path, *, cwd: Path, name: str | None = None) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(SCRIPT)
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, name or str(path)], cwd=cwd, env=environ, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_script_in_flow_modules_is_found_by_a_relative_name_too(tmp_path: Path) -> None:
    """`python daily.py` and `python helpers/x.py` both belong to the folder they lie in."""
    folder = tmp_path / "claims" / "flow_modules"

    found = run_script(folder / "daily.py", cwd=tmp_path, name="claims/flow_modules/daily.py")
    assert found == f"{CurrentNotebook(folder / 'daily.py', 'script')}|{folder}"
    found = run_script(folder / "flow_helpers" / "dates.py", cwd=tmp_path)
    assert found.endswith(f"|{folder}")


@pytest.mark.parametrize("folder", [".", "my_flow_modules", "flow_modules.old"])
def test_a_script_elsewhere_is_nowhere(folder: str, tmp_path: Path) -> None:
    """Only a folder of exactly that name is an authored folder."""
    assert run_script(tmp_path / folder / "daily.py", cwd=tmp_path) == "None|None"


def test_here_imports_nothing_heavy() -> None:
    """Every `from data_engine import Flow` pays for it."""
    code = "import sys, data_engine.workspace.layout; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    environ = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    loaded = set(done.stdout.split())
    assert not loaded & {"IPython", "ipykernel", "platformdirs", "psutil", "tomlkit", "tomllib", "filelock", "json"}


def test_a_real_kernel_knows_its_notebook(notebook: Path, machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attributes asked of the shell are those ipykernel has; a later `os.chdir` changes nothing."""
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("JPY_SESSION_NAME", notebook.name)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("IPYTHONDIR", str(machine / "ipython"))
    manager, client = start_new_kernel(kernel_name="python3", cwd=str(notebook.parent))
    try:
        reply = client.execute(
            "import os; os.chdir('/'); from data_engine.workspace.layout import *",
            user_expressions={
                "found": "str(current_notebook().path), current_notebook().problem, str(authored_folder())"
            },
            reply=True,
            timeout=60,
        )
        text = reply["content"]["user_expressions"]["found"]["data"]["text/plain"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)

    assert ast.literal_eval(text) == (str(notebook), None, str(notebook.parent))
