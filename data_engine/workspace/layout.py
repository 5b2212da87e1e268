"""Every path of a workspace: the shared folder (`WorkspaceLayout`) and this machine's own folder (`LocalLayout`).

And which notebook or script is asking (`current_notebook`): the one this kernel belongs to, or the one Python was started with.
Every relative path in a flow asks for it, so nothing is imported here and few files are read. After a rename the new path comes from
the Jupyter server (`renamed_file`), or from VS Code, which sends it with each cell. Where neither tells it, the notebook is the file in
the same folder that holds the cell that is running, found once by the cell's id.

Reference: jupyter_server puts the notebook a kernel was started for into JPY_SESSION_NAME, as
`<folder>/<name>` or as the path below the server's root, and never updates it
(jupyter_server/services/sessions/sessionmanager.py, `get_kernel_env`). VS Code sets the global `__vsc_ipynb_file__` when a kernel
starts, and sends with each cell the URI of its document: `vscode-notebook-cell:/folder/name.ipynb#...`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cached_property
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from data_engine.platforms.files import open_to_read
from data_engine.platforms.names import with_home
from data_engine.record import frozen

if TYPE_CHECKING:
    from typing import Any, Literal


@frozen
class WorkspaceLayout:
    """The shared folder. `root` is absolute; nothing is read or made by asking for a path.

    Example:
        >>> layout = WorkspaceLayout(Path("/team/claims"))
        >>> layout.workspace_id, layout.settings_path.as_posix()
        ('claims', '/team/claims/config/data_engine.toml')
    """

    root: Path

    @property
    def workspace_id(self) -> str:
        """The name people see: the folder's."""
        return self.root.name

    @cached_property
    def flow_modules_dir(self) -> Path:
        """The authored folder: notebooks and modules."""
        return self.root / FLOW_MODULES

    @property
    def flow_helpers_dir(self) -> Path:
        return self.flow_modules_dir / "flow_helpers"

    @property
    def config_dir(self) -> Path:
        return self.root / "config"

    @property
    def databases_dir(self) -> Path:
        return self.root / "databases"

    @cached_property
    def settings_path(self) -> Path:
        return self.config_dir / "data_engine.toml"

    @cached_property
    def workspace_state_dir(self) -> Path:
        """The folder of what the workstations share: its identity, the lease, the published history."""
        return self.root / ".workspace_state"

    @property
    def identity_path(self) -> Path:
        return self.workspace_state_dir / "identity.json"

    @property
    def vscode_settings_path(self) -> Path:
        return self.root / ".vscode" / "settings.json"

    @property
    def gitignore_path(self) -> Path:
        return self.root / ".gitignore"


@frozen
class LocalLayout:
    """This machine's folder for one workspace; `identity.local_layout` makes it, with the environment's overrides.

    Folders are named by the workspace's identity, so that a moved or renamed workspace finds its history again.
    `artifacts_override` and `ledger_override` are what DATA_ENGINE_RUNTIME_ROOT and DATA_ENGINE_RUNTIME_DB_PATH say.

    Example:
        >>> local = LocalLayout(Path("/state/host"), identity="3f2a", workspace_id="claims")
        >>> local.ledger_path.as_posix()
        '/state/host/artifacts/runtime_state/3f2a/runtime_ledger.sqlite'
    """

    state_root: Path
    identity: str
    workspace_id: str
    artifacts_override: Path | None = None
    ledger_override: Path | None = None

    @cached_property
    def artifacts_dir(self) -> Path:
        """The folder of all that this machine's workspaces keep."""
        return self.artifacts_override or self.state_root / "artifacts"

    @property
    def compiled_flow_modules_dir(self) -> Path:
        return self.artifacts_dir / "workspace_cache" / self.identity / "compiled_flow_modules"

    @cached_property
    def runtime_dir(self) -> Path:
        """The folder of this workspace's ledger, locks, log and daemon files."""
        return self.artifacts_dir / "runtime_state" / self.identity

    @cached_property
    def ledger_path(self) -> Path:
        return self.ledger_override or self.runtime_dir / "runtime_ledger.sqlite"

    @cached_property
    def replays_dir(self) -> Path:
        """What failed runs keep of the inputs of their failing step."""
        return self.ledger_path.parent / "replays"

    @cached_property
    def locks_dir(self) -> Path:
        return self.runtime_dir / "locks"

    @cached_property
    def debug_dir(self) -> Path:
        return self.runtime_dir / "debug_artifacts"

    @property
    def daemon_log_path(self) -> Path:
        return self.runtime_dir / "daemon.log"

    @property
    def daemon_endpoint_path(self) -> Path:
        """The file in which the daemon writes how it is reached."""
        return self.runtime_dir / "daemon.json"

    @property
    def daemon_token_path(self) -> Path:
        """The secret of the control channel, mode 0600."""
        return self.runtime_dir / ".daemon-authkey"

    @property
    def daemon_lock_path(self) -> Path:
        """Locked by the one daemon of this workspace on this machine, for its life."""
        return self.runtime_dir / ".daemon.lock"

    @property
    def daemon_start_lock_path(self) -> Path:
        """Locked by whoever is starting the daemon."""
        return self.runtime_dir / ".daemon-start.lock"

    @property
    def service_path(self) -> Path:
        """The definition of this workspace's service on this machine, while one is installed."""
        return self.runtime_dir / "service.json"

    @property
    def daemon_stopped_path(self) -> Path:
        """The logon session in which the daemon was stopped on purpose last."""
        return self.runtime_dir / ".daemon-stopped"

    @property
    def private_places(self) -> tuple[Path, ...]:
        """The files and folders that are for this user alone: the state root, and what an override puts elsewhere."""
        places = [self.state_root]
        if self.artifacts_override is not None:
            places += [self.runtime_dir, self.compiled_flow_modules_dir]
        if self.ledger_override is not None:
            path = self.ledger_override
            places += [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))]
            places += [path.parent / "runners", self.replays_dir]
        return tuple(places)


def is_workspace(path: Path | str) -> bool:
    """Whether the folder holds `flow_modules`; False for whatever cannot be looked at."""
    return os.path.isdir(os.path.join(path, FLOW_MODULES))


FLOW_MODULES = "flow_modules"
NOTEBOOK_VARIABLE = "DATA_ENGINE_NOTEBOOK"
_EDITOR_CELL = "vscode-notebook-cell:"


@frozen
class CurrentNotebook:
    """The notebook of this kernel or the script of this process; `path` is absolute, links are not followed.

    `problem` says in a line why the notebook is not to be trusted (it was renamed or moved since the kernel started, and
    nothing tells where to), `fix` what helps; both are None when the file is there. `was_here` says that the kernel was started
    in it, as a file of a folder that is still there.
    """

    path: Path
    kind: Literal["notebook", "script"]
    problem: str | None = None
    fix: str | None = None
    was_here: bool = False


def current_notebook() -> CurrentNotebook | None:
    """The notebook of this kernel, or the running script when it lies in a `flow_modules` folder; None for neither.

    In a kernel, DATA_ENGINE_NOTEBOOK goes before VS Code's `__vsc_ipynb_file__`, and that before JPY_SESSION_NAME.
    """
    shell = kernel_shell()
    if shell is not None:
        starting_dir = getattr(shell, "starting_dir", None)
        starting_dir = starting_dir if isinstance(starting_dir, str) else os.getcwd()
        file = getattr(getattr(shell.kernel, "parent", None), "abs_connection_file", "")
        connection_file = file if isinstance(file, str) else ""
        return notebook_here(shell.user_ns, os.environ, starting_dir, _cell_id(shell), connection_file)
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not isinstance(file, str) or FLOW_MODULES not in file:
        return None
    script = Path(os.path.abspath(file))
    return CurrentNotebook(script, "script") if _flow_modules_above(script) else None


def authored_folder() -> Path | None:
    """The `flow_modules` folder of `current_notebook()`, also from deeper inside it; None when it is in none.

    A renamed notebook stands for the folder its kernel was started in; `current_notebook().problem` tells of the renaming.
    """
    notebook = current_notebook()
    return _flow_modules_above(notebook.path) if notebook else None


def notebook_here(
    user_ns: Mapping[str, Any],
    environ: Mapping[str, str],
    starting_dir: str,
    cell_id: str = "",
    connection_file: str = "",
) -> CurrentNotebook | None:
    """The notebook that these globals and variables name; `starting_dir` is where the kernel was started.

    `cell_id` is what the cell that is running came with. A notebook that is gone is taken for the only other in its folder with
    this cell.
    """
    if value := environ.get(NOTEBOOK_VARIABLE, "").strip():
        path = os.path.normpath(os.path.join(starting_dir, with_home(value)))
        return _notebook_at(
            path, f"{NOTEBOOK_VARIABLE} names a file that does not exist", f"correct {NOTEBOOK_VARIABLE}, or unset it"
        )
    code = user_ns.get("__vsc_ipynb_file__")
    if isinstance(code, str) and code.endswith(".ipynb"):
        path = os.path.normpath(os.path.join(starting_dir, code))
        if editor_path := _editor_path(cell_id):
            _renamings[path] = editor_path
        if os.path.isfile(new_path := _renamings.get(path, "")):
            path = new_path
    else:
        session = environ.get("JPY_SESSION_NAME", "")
        if not session.endswith(".ipynb"):  # a console or a test: its kernel has no notebook
            return None
        path = _session_path(session, starting_dir)
        server_path = _server_path(connection_file)
        if server_path and (os.path.isfile(server_path) or not os.path.isfile(path)):
            path = server_path
    if not os.path.isfile(path):
        path = _renamed(path, cell_id)
    problem = "this notebook is no longer there: it was renamed or moved since the kernel started"
    return _notebook_at(path, problem, "restart the kernel", was_here=os.path.isdir(os.path.dirname(path)))


def renamed_file(connection_file: str) -> str:
    """The file in which the Jupyter server keeps what the notebook of this kernel is called since a rename.

    Example:
        >>> renamed_file("/run/jupyter/kernel-8f2.json")
        '/run/jupyter/kernel-8f2.notebook'
    """
    return f"{connection_file.removesuffix('.json')}.notebook"


def _server_path(connection_file: str) -> str:
    """The notebook's path since the Jupyter server renamed it; "" where it did not."""
    if not connection_file:
        return ""
    try:
        with FileIO(renamed_file(connection_file)) as file:  # which is not taken for a file that a step reads
            path = file.read().decode()
    except (OSError, ValueError):
        return ""
    return path if os.path.isabs(path) and path.endswith(".ipynb") else ""


def _editor_path(cell_id: str) -> str:
    """The file that VS Code shows the running cell of; "" where it does not say."""
    if not cell_id.startswith(_EDITOR_CELL):
        return ""
    from urllib.parse import unquote, urlsplit

    path = unquote(urlsplit(cell_id).path)
    if path[2:4] == ":/":  # /c:/claims/daily.ipynb
        path = path[1:]
    path = os.path.normpath(path)
    return path if path.endswith(".ipynb") and os.path.isabs(path) and os.path.isfile(path) else ""


def _notebook_at(path: str, problem: str, fix: str, *, was_here: bool = False) -> CurrentNotebook:
    if os.path.isfile(path):
        return CurrentNotebook(Path(path), "notebook")
    return CurrentNotebook(Path(path), "notebook", problem, fix, was_here)


_renamings: dict[str, str] = {}


def _renamed(path: str, cell_id: str) -> str:
    """The path now of the notebook at `path`; `path` itself where nothing tells."""
    if os.path.isfile(new_path := _renamings.get(path, "")):
        return new_path
    if not cell_id.replace("-", "").replace("_", "").isalnum():
        return path
    mark, paths = f'"id": "{cell_id}"'.encode(), []
    folder = os.path.dirname(path)
    try:
        names = [name for name in os.listdir(folder) if name.endswith(".ipynb")]
        for name in names:
            with open_to_read(os.path.join(folder, name)) as file:
                if mark in file.read():
                    paths.append(os.path.join(folder, name))
    except OSError:
        return path
    if len(paths) == 1:  # a copy has the same cells
        _renamings[path] = paths[0]
        return paths[0]
    return path


def _session_path(session: str, starting_dir: str) -> str:
    # A relative name counts from the server's root, which a kernel does not know; but Jupyter starts a kernel in its
    # notebook's folder, so when that folder's end is the name's folder, the name ends here.
    folder, name = os.path.split(os.path.normpath(session))
    parts = Path(folder).parts
    if folder and not os.path.isabs(folder) and Path(starting_dir).parts[-len(parts) :] == parts:
        return os.path.join(starting_dir, name)
    return os.path.normpath(os.path.join(starting_dir, session))


def _flow_modules_above(path: Path) -> Path | None:
    return next((folder for folder in path.parents if folder.name == FLOW_MODULES), None)


def ipython_shell() -> Any:
    """The IPython shell this process is, or None; IPython is never imported for the question."""
    get_ipython = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_ipython() if get_ipython is not None else None


def kernel_shell() -> Any:
    """The IPython shell of a Jupyter kernel, or None: only that one has the attribute `kernel`."""
    shell = ipython_shell()
    return shell if getattr(shell, "kernel", None) is not None else None


def _cell_id(shell: Any) -> str:
    """The id of the cell that is running as JupyterLab and Notebook 7 send it, the URI as VS Code does; "" where nobody does."""
    try:
        cell_id = shell.get_parent()["metadata"]["cellId"]
    except (AttributeError, KeyError, TypeError, LookupError):
        return ""
    return cell_id if isinstance(cell_id, str) else ""


_OF_KERNELS = ("JPY_", "JUPYTER_", "IPYTHON", "PYDEVD_", "COLAB_", "VSCODE_")
_SET_BY_KERNELS = {
    "TERM": "xterm-color",
    "CLICOLOR": "1",
    "CLICOLOR_FORCE": "1",
    "FORCE_COLOR": "1",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
}


def without_kernel(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment as it was before a kernel began: a run is the same whoever started the daemon.

    Reference: ipykernel's `ZMQInteractiveShell.init_environment`; with its colours, logs would be full of escape codes.

    Example:
        >>> sorted(without_kernel({"PATH": "/bin", "JPY_SESSION_NAME": "a.ipynb", "MPLBACKEND": "agg", "PAGER": "cat"}))
        ['MPLBACKEND', 'PAGER', 'PATH']
        >>> without_kernel({"PATH": "/bin", **_SET_BY_KERNELS})
        {'PATH': '/bin'}
    """
    has_its_terminal = all(environment.get(name) == value for name, value in _SET_BY_KERNELS.items())
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(_OF_KERNELS)
        and not (name == "MPLBACKEND" and value.startswith("module://"))
        and not (has_its_terminal and name in _SET_BY_KERNELS)
        and name not in ("DATA_ENGINE_NOTEBOOK", "DATA_ENGINE_ITEM", "DATA_ENGINE_NODE")
    }
