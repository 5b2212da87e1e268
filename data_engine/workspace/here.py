"""Which notebook or script is asking: the one this kernel belongs to, or the one Python was started with.

Asked by every relative path in a flow, so nothing is imported and at most one file is looked at. Only when that one is gone
its folder is looked through, once, for the notebook that has the cell that is running: then it was renamed.

Reference: jupyter_server puts the notebook a kernel was started for into JPY_SESSION_NAME, as
`<folder>/<name>` or as the path below the server's root, and never updates it
(jupyter_server/services/sessions/sessionmanager.py, `get_kernel_env`). VS Code sets the global `__vsc_ipynb_file__`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data_engine.platforms.files import open_to_read

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal

FLOW_MODULES = "flow_modules"
NOTEBOOK_VARIABLE = "DATA_ENGINE_NOTEBOOK"


@dataclass(frozen=True)
class Here:
    """The notebook of this kernel or the script of this process; `path` is absolute, links are not followed.

    `problem` says, in a sentence, why the notebook is not to be trusted (it was renamed or moved since
    the kernel started, and nothing tells where to); None when the file is there.
    """

    path: Path
    kind: Literal["notebook", "script"]
    problem: str | None = None


def here() -> Here | None:
    """The notebook of this kernel, or the running script when it lies in a `flow_modules` folder; None for neither.

    In a kernel, DATA_ENGINE_NOTEBOOK goes before VS Code's `__vsc_ipynb_file__`, and that before JPY_SESSION_NAME.
    """
    shell = kernel_shell()
    if shell is not None:
        return notebook_here(shell.user_ns, os.environ, _starting_dir(shell), _cell_id(shell))
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str) or FLOW_MODULES not in file:
        return None
    script = Path(os.path.abspath(file))
    return Here(script, "script") if _flow_modules_above(script) else None


def authored_folder() -> Path | None:
    """The `flow_modules` folder of `here()`, also from deeper inside it; None when it is in none.

    A renamed notebook still stands for the folder its kernel was started in; `here().problem` tells of the renaming.
    """
    found = here()
    return _flow_modules_above(found.path) if found else None


def notebook_here(
    user_ns: Mapping[str, Any], environ: Mapping[str, str], starting_dir: str, cell_id: str = ""
) -> Here | None:
    """The notebook these globals and variables speak of; `starting_dir` is where the kernel was started.

    One that is gone from its folder is the other one there that has the cell `cell_id`, where there is just one.
    """
    if named := environ.get(NOTEBOOK_VARIABLE, "").strip():
        path = os.path.normpath(os.path.join(starting_dir, os.path.expanduser(named)))
        return _found(path, f"{NOTEBOOK_VARIABLE} names {path}, which does not exist: correct it or unset it")
    code = user_ns.get("__vsc_ipynb_file__")
    if isinstance(code, str) and code.endswith(".ipynb"):
        path = os.path.normpath(os.path.join(starting_dir, code))
    else:
        session = environ.get("JPY_SESSION_NAME", "")
        if not session.endswith(".ipynb"):  # a console or a test: its kernel has no notebook
            return None
        path = _session_path(session, starting_dir)
    if not os.path.isfile(path):
        path = _renamed(path, cell_id)
    return _found(path, f"notebook {path} no longer exists: it was renamed or moved since the kernel started")


def _found(path: str, otherwise: str) -> Here:
    return Here(Path(path), "notebook", None if os.path.isfile(path) else otherwise)


_renamings: dict[str, str] = {}


def _renamed(path: str, cell_id: str) -> str:
    """What the notebook at `path` is called now; `path` where nothing tells."""
    if os.path.isfile(known := _renamings.get(path, "")):
        return known
    if not cell_id:
        return path
    mark, found = f'"id": "{cell_id}"'.encode(), []
    folder = os.path.dirname(path)
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".ipynb")]
        for name in names:
            with open_to_read(os.path.join(folder, name)) as file:
                if mark in file.read():
                    found.append(os.path.join(folder, name))
    except OSError:
        return path
    if len(found) == 1:  # a copy has the same cells
        _renamings[path] = found[0]
        return found[0]
    return path


def _session_path(session: str, starting_dir: str) -> str:
    # A relative name counts from the server's root, which a kernel does not know; but Jupyter starts a kernel in its
    # notebook's folder, so when that folder's end is the name's folder, the name ends here.
    folder, name = os.path.split(os.path.normpath(session))
    if folder and not os.path.isabs(folder) and _ends_with(starting_dir, folder):
        return os.path.join(starting_dir, name)
    return os.path.normpath(os.path.join(starting_dir, session))


def _ends_with(path: str, tail: str) -> bool:
    parts = Path(tail).parts
    return Path(path).parts[-len(parts) :] == parts


def _flow_modules_above(path: Path) -> Path | None:
    for folder in path.parents:
        if folder.name == FLOW_MODULES:
            return folder
    return None


def ipython_shell() -> Any:
    """The IPython shell this process is, or None; IPython is never imported for the question."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython() if get_ipython is not None else None


def kernel_shell() -> Any:
    """The same, when it is a Jupyter kernel's: only that one has the attribute `kernel`."""
    shell = ipython_shell()
    return shell if getattr(shell, "kernel", None) is not None else None


def _cell_id(shell: Any) -> str:
    """The id of the cell that is running, as JupyterLab and Notebook 7 send it; "" where nobody does."""
    try:
        found = shell.get_parent()["metadata"]["cellId"]
    except (AttributeError, KeyError, TypeError, LookupError):
        return ""
    return found if isinstance(found, str) and found.replace("-", "").replace("_", "").isalnum() else ""


def _starting_dir(shell: Any) -> str:
    starting_dir = getattr(shell, "starting_dir", None)
    return starting_dir if isinstance(starting_dir, str) else os.getcwd()
